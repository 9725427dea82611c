// Package hf joins the vision transformer of package nn to the files other programs read and write: Hugging Face
// configs, weights, image processors and PEFT adapters, timm configs, and the checkpoints of the DINO, DINOv2 and
// DINOv3 repositories.
//
// Every foreign naming is one table of links between a Hugging Face tensor and rows of a foreign tensor, used in
// both directions. Loading is strict: a report names every tensor of the file and of the model with what became
// of it, and anything unexplained is an error unless the caller allowed it.
//
// The room must not know how a model is trained, nor how a file is fetched (package hub does).
package hf
