// Package hf reads and writes the model files of other programs for the vision transformer of package nn: Hugging Face
// configs, weights, image processors and PEFT adapters, timm configs, and the checkpoints of the DINO, DINOv2 and
// DINOv3 repositories.
//
// Each naming of tensors is one table of links between Hugging Face tensors and rows of the naming's tensors. Loading
// and exporting use the same table. Loading is strict: a report lists every tensor of the file and of the model with
// what became of it, and anything unexplained is an error unless the caller allowed it.
//
// The room must not know how a model is trained, nor how a file is downloaded, which is the task of package hub.
package hf
