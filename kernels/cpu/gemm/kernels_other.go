//go:build noasm || !amd64

package gemm

// families is indexed by vec.ISA.
var families = [...]*kernel{&portable}
