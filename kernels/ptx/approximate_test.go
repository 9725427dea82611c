package ptx

import (
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
	"github.com/dino-mx/dmx/tensor"
)

// Approximate functions are off, by up to what the PTX ISA documents and no more. A kernel that is right only with exact
// ones is wrong here, as it may be on a device.
func TestApproximateFunctionsErrAsDocumented(t *testing.T) {
	t.Parallel()
	arguments := map[string][2]float64{"ex2": {-120, 120}, "rcp": {0.01, 100}, "sqrt": {0.01, 100}, "rsqrt": {0.01, 100},
		"tanh": {-4, 4}, "sin": {-6, 6}, "cos": {-6, 6}, "lg2": {0.01, 100}}
	for op, fn := range approximations {
		c := &compiler{in: &syntax.Instr{Op: op}, mods: []string{"approx"}}
		f, err := approximate(c, "f32")
		if err != nil {
			t.Fatal(err)
		}
		r := tensor.NewRand(3, 0, 0, 0)
		largest := 0.0
		for range 20_000 {
			lo, hi := arguments[op][0], arguments[op][1]
			x := float32(lo + (hi-lo)*r.Float64())
			got := f(bf32(x))
			if f(bf32(x)) != got {
				t.Fatalf("%s(%g) has two results", op, x)
			}
			want := fn.f(float64(x))
			part := math.Abs(float64(f32(got))-want) / fn.bound(float64(x), want)
			if largest = max(largest, part); part > 1 {
				t.Fatalf("%s(%g) is %g, off %g by %.2f of the bound", op, x, f32(got), want, part)
			}
		}
		// A function that is rounded to nearest is off by half a unit in the last place.
		if largest < 0.8 {
			t.Errorf("%s is never off by more than %.2f of the documented error", op, largest)
		}
	}
}

func TestDivisionErrsAsDocumented(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"approx", "full"} {
		f, err := divide(&compiler{mods: []string{mode}}, "f32")
		if err != nil {
			t.Fatal(err)
		}
		r := tensor.NewRand(3, 1, 0, 0)
		largest := 0.0
		for range 20_000 {
			x, y := float32(r.Norm()), float32(r.Norm())
			want := float64(x) / float64(y)
			off := math.Abs(float64(f32(f(bf32(x), bf32(y))))-want) / ulp(want)
			if largest = max(largest, off); off > 2 {
				t.Fatalf("%g/%g is off by %.2f units in the last place", x, y, off)
			}
		}
		if largest < 1.5 {
			t.Errorf(".%s is never off by more than %.2f units in the last place", mode, largest)
		}
	}
}
