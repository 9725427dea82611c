//go:build noasm || !amd64

package gemm

// kernels lists the families this machine can run, fastest first.
func kernels() []*kernel { return []*kernel{&portable} }
