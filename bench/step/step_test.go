package main

import (
	"fmt"
	"testing"

	"github.com/dino-mx/dmx/ssl"
)

// BenchmarkDINO is one step of DINO, batch 4, f32. It reports images a second, the counted model FLOP as a rate and
// as a share of the FMA peak measured around the steps, and the memory that the trainer holds.
//
//	go test -tags cpu -run '^$' -bench DINO -benchtime 3x ./bench/step
func BenchmarkDINO(b *testing.B) { benchmark(b, dino(4)) }

// BenchmarkQuickstart is one step of the quickstart recipe.
//
//	go test -tags cpu -run '^$' -bench Quickstart ./bench/step
func BenchmarkQuickstart(b *testing.B) { benchmark(b, quickstart()) }

func benchmark(b *testing.B, s ssl.Settings) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			w, err := newWorker(s, threads)
			if err != nil {
				b.Fatal(err)
			}
			defer w.close()
			b.ReportAllocs()
			peak := w.peak()
			for b.Loop() {
				if err := w.step(); err != nil {
					b.Fatal(err)
				}
			}
			peak = max(peak, w.peak())
			seconds := b.Elapsed().Seconds() / float64(b.N)
			rate := float64(s.FLOPs(0)) / seconds / 1e9
			m := w.trainer.Memory()
			b.ReportMetric(float64(s.Batch)/seconds, "img/s")
			b.ReportMetric(rate, "GFLOP/s")
			b.ReportMetric(100*rate/peak, "%peak")
			b.ReportMetric(float64(m.Peak+m.State)/(1<<20), "MiB")
		})
	}
}
