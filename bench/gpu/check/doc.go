// Package check holds the tests that hold a real GPU against the interpreter of its kernels and against the CPU:
// operations case by case, training, resuming and determinism. Built once (just gpu-build), they run on machines
// without Go:
//
//	outputs/gpu/check.test -device cuda:0 -test.v
//
// Without -device the interpreter itself, on another schedule, stands in for the GPU, at a fraction of the cases: that
// is the form that continuous integration runs. It must not be imported.
package check
