package main

import (
	"math"
	"testing"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/kernels/cuda"
)

// The model against version 3 as measured on an H200, with the plans of those measurements.
func TestModel(t *testing.T) {
	list, err := readMeasured(h200)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 45 {
		t.Fatalf("%d rows, want 45", len(list))
	}
	var errs []float64
	for _, x := range list {
		p := cuda.GemmV3Tiles(x.m, x.n, x.k, h200SMs, x.tileN, x.splits)
		if p.Splits != x.splits {
			t.Errorf("%s: K is cut into %d parts, it was measured with %d", x.name, p.Splits, x.splits)
		}
		e := math.Abs(p.Micros/x.micros(x.v3) - 1)
		if e > 0.25 {
			t.Errorf("%s %s %dx%dx%d: measured %.1f us, expected %.1f us", x.name, x.layout, x.m, x.n, x.k, x.micros(x.v3), p.Micros)
		}
		errs = append(errs, e)
	}
	if m := peer.Median(errs); m > 0.10 {
		t.Errorf("median error %.1f %%, want at most 10 %%", 100*m)
	}
}
