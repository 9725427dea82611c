// Package cpu is the CPU implementation of kernels.Backend.
//
// Every operation is one small struct with a do method over a range of rows (or blocks, or tiles); the backend
// keeps one of each, so that a call allocates nothing. Arithmetic is float32 on rows held in cache; bf16 rows are
// widened into the worker's scratch and narrowed on the way out. Sums over many rows go through partial sums of
// fixed blocks that are added in block order, so that the number of threads never shows in a result.
//
// It must not know what a layer, a model or a loss recipe is.
package cpu
