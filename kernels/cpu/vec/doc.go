// Package vec holds the row kernels of the CPU backend: loops over contiguous float32 slices, in AVX-512 and
// AVX2 assembly where the machine has it and in portable Go elsewhere (and under the noasm tag).
//
// A kernel works on one row, or on one piece of a row that fits the first-level cache, and never starts a
// goroutine. The order in which it sums depends on the length of the row and on the instruction set alone, so a
// result does not depend on how rows are shared among threads.
//
// It must not know what a tensor, an operation or a thread is.
package vec
