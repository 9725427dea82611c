package gemm

import (
	"fmt"
	"testing"
	"time"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/pool"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

// share times f in short windows, each next to a measurement of the peak, and returns the best speed seen in
// 10⁹ operations a second and the best share of peak.
func share(f func(), flops float64, threads, rounds int) (gflops, ofPeak float64) {
	f()
	for range rounds {
		peak := PeakGFLOPS(threads)
		start := time.Now()
		n := 0
		for n == 0 || time.Since(start) < 4*time.Millisecond {
			f()
			n++
		}
		g := flops * float64(n) / float64(time.Since(start).Nanoseconds())
		peak = max(peak, PeakGFLOPS(threads))
		gflops, ofPeak = max(gflops, g), max(ofPeak, g/peak)
	}
	return gflops, ofPeak
}

// BenchmarkMultiply measures the micro-kernel walk on packed operands, without packing.
func BenchmarkMultiply(b *testing.B) {
	was := vec.Active()
	defer vec.Use(was)
	r := tensor.NewRand(3, 0, 0, 0)
	for isa := vec.Best; isa > vec.Generic; isa-- {
		vec.Use(isa)
		for _, s := range [][3]int{{112, 384, 384}, {112, 384, 512}, {112, 384, 1024}, {56, 384, 1536}, {48, 256, 64}, {64, 64, 64}, {14, 32, 64}} {
			m, n, k := s[0], s[1], s[2]
			b.Run(fmt.Sprintf("%s/%dx%dx%d", isa, m, n, k), func(b *testing.B) {
				pa, pb, c := random(r, PackedA(m, k)), random(r, PackedB(k, n)), random(r, m*n)
				for b.Loop() {
					g, p := share(func() { Multiply(c, n, pa, pb, m, n, k, 1, false) }, 2*float64(m*n*k), 1, 20)
					b.ReportMetric(g, "GFLOP/s")
					b.ReportMetric(100*p, "%peak")
				}
			})
		}
	}
}

// BenchmarkRun measures whole products of a ViT-S, packing included, against the peak of the same moment.
func BenchmarkRun(b *testing.B) {
	was := vec.Active()
	defer vec.Use(was)
	for isa := vec.Best; isa > vec.Generic; isa-- {
		vec.Use(isa)
		for _, s := range [][3]int{{3152, 384, 384}, {3152, 1152, 384}, {3152, 1536, 384}, {3152, 384, 1536}, {197, 384, 384}, {197, 1152, 384}, {197, 1536, 384}, {197, 384, 1536}, {48, 65536, 256}, {1152, 384, 3152}} {
			for _, trans := range []string{"NT", "NN", "TN"} {
				for threads := 1; threads <= 2; threads++ {
					b.Run(fmt.Sprintf("%s/%dx%dx%d/%s/%d", isa, s[0], s[1], s[2], trans, threads), func(b *testing.B) {
						p := pool.New(threads)
						defer p.Close()
						g := operands(s[0], s[1], s[2], trans)
						x := New(p)
						for b.Loop() {
							v, share := share(func() { x.Run(&g) }, 2*float64(g.M)*float64(g.N)*float64(g.K), threads, 12)
							b.ReportMetric(v, "GFLOP/s")
							b.ReportMetric(100*share, "%peak")
						}
					})
				}
			}
		}
	}
}

func operands(m, n, k int, trans string) kernels.Gemm {
	r := tensor.NewRand(5, 0, 0, 0)
	make := func(rows, cols int) *tensor.Tensor {
		t := tensor.Zeros(tensor.F32, rows, cols)
		for i, v := 0, t.F32(); i < len(v); i++ {
			v[i] = float32(r.Uint32()>>8)/(1<<23) - 1
		}
		return t
	}
	g := kernels.Gemm{M: m, N: n, K: k, TransA: trans[0] == 'T', TransB: trans[1] == 'T', Out: tensor.Zeros(tensor.F32, m, n)}
	if g.TransA {
		g.A = make(k, m)
	} else {
		g.A = make(m, k)
	}
	if g.TransB {
		g.B = make(n, k)
	} else {
		g.B = make(k, n)
	}
	return g
}

// BenchmarkPack measures both forms of packing, for an A tile and a B panel, on sources that lie in the L2 cache.
func BenchmarkPack(b *testing.B) {
	was := vec.Active()
	defer vec.Use(was)
	r := tensor.NewRand(3, 0, 0, 0)
	const k, wide = 384, 384
	src := random(r, k*wide)
	for isa := vec.Best; isa > vec.Generic; isa-- {
		vec.Use(isa)
		for _, trans := range []bool{false, true} {
			m, n := 12*current().mr, wide
			da, db := make([]float32, PackedA(m, k)), make([]float32, PackedB(k, n))
			for name, f := range map[string]func(){
				"A": func() { PackA(da, src, wide, m, k, trans) },
				"B": func() { PackB(db, src, wide, k, n, trans) },
			} {
				elements := map[string]int{"A": m * k, "B": n * k}[name]
				b.Run(fmt.Sprintf("%s/%s/trans=%v", isa, name, trans), func(b *testing.B) {
					best := time.Hour
					for b.Loop() {
						start := time.Now()
						f()
						best = min(best, time.Since(start))
					}
					b.ReportMetric(float64(best.Nanoseconds())/float64(elements), "ns/element")
				})
			}
		}
	}
}
