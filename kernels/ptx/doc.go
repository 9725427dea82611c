// Package ptx executes NVIDIA PTX on the CPU: a parser and validator for the instructions that the CUDA backend
// ships, a warp-level interpreter with seeded random scheduling, a sanitizer (races, bounds, alignment,
// uninitialised reads, wrong barriers and masks, deadlocks) and counters that turn performance mistakes into
// test failures. It is a cuda.Driver, so the whole GPU backend runs on it where there is no GPU.
//
// It must not know what our kernels compute: only the instruction set.
package ptx
