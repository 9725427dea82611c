// Package tensor holds the data types everything else is written in: shapes, element types, tensors over
// buffers of one device, the step arena that activations live in, and the counter-based random numbers that
// make a run a function of its seed.
//
// It must not know what an operation is: arithmetic lives in package kernels. It imports nothing of ours.
package tensor
