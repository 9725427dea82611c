package gemm

import (
	"fmt"
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

// eachKernel runs a test once for every micro-kernel family this machine has, forcing it.
func eachKernel(t *testing.T, f func(t *testing.T)) {
	was := vec.Active()
	defer vec.Use(was)
	for isa := vec.Best; ; isa-- {
		vec.Use(isa)
		t.Run(isa.String(), f)
		if isa == vec.Generic {
			return
		}
	}
}

// edges are sizes around the first tiles of every family.
func edges(tile int) []int {
	var s []int
	for _, n := range []int{1, 2, 3, tile - 1, tile, tile + 1, 2*tile - 1, 2 * tile, 2*tile + 1, 3*tile - 1, 3 * tile, 3*tile + 1} {
		if n > 0 && (len(s) == 0 || n > s[len(s)-1]) {
			s = append(s, n)
		}
	}
	return s
}

func random(r *tensor.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(r.Uniform(-1, 1))
	}
	return s
}

func TestMultiply(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := tensor.NewRand(1, 0, 0, 0)
		const pad = 3 // columns beside each matrix that are not part of it
		for _, m := range edges(current().mr) {
			for _, n := range edges(current().nr()) {
				for _, k := range []int{0, 1, 2, 15, 16, 17, 33} {
					transA, transB := r.Bool(0.5), r.Bool(0.5)
					accumulate, alpha := r.Bool(0.5), float32(r.Uniform(0.5, 2))
					name := fmt.Sprintf("m=%d n=%d k=%d transA=%v transB=%v accumulate=%v", m, n, k, transA, transB, accumulate)
					lda, ldb := k+pad, n+pad
					if transA {
						lda = m + pad
					}
					if transB {
						ldb = k + pad
					}
					a, b := random(r, max(m, k)*lda), random(r, max(n, k)*ldb)
					pa, pb := make([]float32, PackedA(m, k)), make([]float32, PackedB(k, n))
					PackA(pa, a, lda, m, k, transA)
					PackB(pb, b, ldb, k, n, transB)
					ldc := n + pad
					c := random(r, m*ldc)
					was := append([]float32(nil), c...)
					if !accumulate {
						for i := range m {
							for j := range n {
								c[i*ldc+j] = float32(math.NaN())
							}
						}
					}
					Multiply(c, ldc, pa, pb, m, n, k, alpha, accumulate)
					for i := range m {
						for j := range ldc {
							want, slack := float64(was[i*ldc+j]), 0.0
							if j < n {
								s := 0.0
								for p := range k {
									av, bv := a[min(i*lda+p, len(a)-1)], b[min(p*ldb+j, len(b)-1)]
									if transA {
										av = a[p*lda+i]
									}
									if transB {
										bv = b[j*ldb+p]
									}
									s += float64(av) * float64(bv)
								}
								s *= float64(alpha)
								if accumulate {
									want += s
								} else {
									want = s
								}
								slack = 1e-6 * float64(k+1)
							}
							if got := float64(c[i*ldc+j]); !(math.Abs(got-want) <= slack) {
								t.Fatalf("%s: c[%d,%d] = %v, want %v", name, i, j, got, want)
							}
						}
					}
				}
			}
		}
	})
}
