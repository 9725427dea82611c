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
			t.Errorf("%s %s: measured %.1f us, expected %.1f us", x.name, x.shape(), x.micros(x.v3), p.Micros)
		}
		errs = append(errs, e)
	}
	if m := peer.Median(errs); m > 0.10 {
		t.Errorf("median error %.1f %%, want at most 10 %%", 100*m)
	}
}

// Products with short K that arithmetic bounds, not bytes: version 4 is expected to take at most the time of the
// tensor cores' best over 0.85.
func TestShortProducts(t *testing.T) {
	list, err := readMeasured(h200)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, x := range list {
		arithmetic, bytes := x.floors()
		if !x.short() || bytes > arithmetic {
			continue
		}
		n++
		p := cuda.PlanGemmV4(cuda.GemmEpilogue{}, x.m, x.n, x.k, h200SMs)
		if share := arithmetic / p.Micros; share < 0.85 {
			t.Errorf("%s %s: %.1f us expected, %.0f %% of the peak", x.name, x.shape(), p.Micros, 100*share)
		}
	}
	if n != 13 {
		t.Errorf("%d such products, want 13", n)
	}
}
