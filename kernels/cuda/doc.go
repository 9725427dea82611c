// Package cuda is the GPU backend: CUDA C++ sources (src), the PTX that clang made of them (ptx, committed and
// embedded), and the code that launches them for every operation of kernels.Backend.
//
// It submits work through queue.Queue to a gpu.Driver: kernels/cuda/driver is a real device, kernels/ptx executes the
// same PTX on the CPU. It must not know which of the two it runs on, nor what a model is.
package cuda

//go:generate go run ./gen
