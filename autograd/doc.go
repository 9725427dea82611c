// Package autograd records what a forward pass did and runs it backwards.
//
// A Tape belongs to one goroutine and one Backend. Its operations compute at once and, when a gradient will be
// wanted, push the closure that turns the gradient of their output into gradients of their inputs. Values live
// in the tape's arena and are freed as soon as neither the forward code (Release) nor a pending backward
// (Op.Saves) needs them, so that the peak of a step is what backward really reads.
//
// The room knows tensors and the Backend. It must not know what a vision transformer is, that there are ranks,
// or which device it runs on.
package autograd
