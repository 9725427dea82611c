// Package pth reads the tensors of PyTorch's zip checkpoints (.pth, .pt, .bin) without executing anything.
//
// The pickle inside is interpreted by a machine that knows plain data and an allow-list of Python names. Names that
// rebuild tensors are understood, harmless ones such as argument namespaces become placeholders, and any other name is
// an error. Nothing is ever imported or called.
//
// The package must not know what a model is: a File is a safetensors.Source of names and tensors.
package pth
