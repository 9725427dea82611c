package gemm

import (
	"fmt"
	"testing"
	"time"

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
