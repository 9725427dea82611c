// Package pth reads the tensors of PyTorch's zip checkpoints (.pth, .pt, .bin) without executing anything.
//
// The pickle inside is interpreted by a machine that knows plain data and an allow-list of names: those that
// rebuild tensors are understood, a few harmless ones (argument namespaces, numpy scalars) become opaque values,
// any other name is an error. Nothing is ever imported or called.
//
// It must not know what a model is: it yields names and tensors as a safetensors.Source.
package pth
