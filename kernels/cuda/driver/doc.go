// Package driver is gpu.Driver on a real GPU: gorgonia.org/cu, unmodified, for what it has, and a few C functions
// for what it lacks. It is the only package with cgo; -tags cpu leaves it out.
//
// Building it needs a C compiler and CGO_CFLAGS=-I<repository>/kernels/cuda/driver/include, where a minimal cuda.h
// stands in for the CUDA toolkit (just build sets it). Running it needs nothing but the NVIDIA driver, and
// without one Open says so.
package driver
