//go:build !noasm

package gemm

func kernels() []*kernel { return []*kernel{&portable} }
