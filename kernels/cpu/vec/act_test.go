package vec

import (
	"fmt"
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels"
)

var activationNames = map[kernels.Activation]string{
	kernels.NoActivation: "none", kernels.GELU: "GELU", kernels.GELUTanh: "GELUTanh", kernels.QuickGELU: "QuickGELU",
	kernels.SiLU: "SiLU", kernels.ReLU: "ReLU", kernels.Tanh: "Tanh",
}

// arguments are dense around zero, and reach far into both tails.
func arguments() []float32 {
	var x []float32
	for v := -14.0; v <= 14; v += 0.0007 {
		x = append(x, float32(v))
	}
	for e := -40.0; e < 4; e += 0.013 {
		x = append(x, float32(math.Exp(e)), -float32(math.Exp(e)))
	}
	return append(x, 0, 50, -50, 100, -100, 1e6, -1e6, 1e30, -1e30, math.MaxFloat32, -math.MaxFloat32)
}

func TestActivate(t *testing.T) {
	x := arguments()
	eachISA(t, func(t *testing.T) {
		for act, name := range activationNames {
			dst := make([]float32, len(x))
			Activate(dst, x, act)
			for i, got := range dst {
				want := activation(float64(x[i]), act)
				// 1e-6 absolutely near zero; six units of the last place relative to the result, which for GELU holds
				// far into the negative tail.
				if err := math.Abs(float64(got) - want); !(err <= 1e-6*max(1, math.Abs(want)) && (err <= 7.2e-7*math.Abs(want) || err <= tailError(act, float64(x[i])))) {
					t.Fatalf("%s(%v) = %v, want %v: off by %g", name, x[i], got, want, err)
				}
			}
		}
	})
}

// tailError is what the sigmoid forms may lose where the result is tiny: their argument's rounding is magnified by
// the exponential.
func tailError(act kernels.Activation, x float64) float64 {
	switch act {
	case kernels.GELU:
		if x < -12 {
			return 1e-30
		}
		return 0
	case kernels.ReLU, kernels.NoActivation:
		return 0
	case kernels.Tanh:
		return 1e-37
	}
	return 2e-7*min(1, math.Abs(activation(x, act))*math.Abs(1+x*x)) + 1e-35
}

func TestActivateGrad(t *testing.T) {
	x := arguments()
	dy := make([]float32, len(x))
	for i := range dy {
		dy[i] = float32(i%7) - 3
	}
	eachISA(t, func(t *testing.T) {
		for act, name := range activationNames {
			dx := make([]float32, len(x))
			ActivateGrad(dx, dy, x, act)
			for i, got := range dx {
				want := float64(dy[i]) * activationSlope(float64(x[i]), act)
				if err := math.Abs(float64(got) - want); !(err <= 1e-6*max(1, math.Abs(float64(dy[i])))) {
					t.Fatalf("%s'(%v)·%v = %v, want %v: off by %g", name, x[i], dy[i], got, want, err)
				}
			}
		}
	})
}

// The float64 derivatives are the formulas' own.
func TestActivationSlope(t *testing.T) {
	for act, name := range activationNames {
		for x := -6.03; x < 6; x += 0.1 {
			const h = 1e-5
			want := (activation(x+h, act) - activation(x-h, act)) / (2 * h)
			if got := activationSlope(x, act); math.Abs(got-want) > 1e-8 {
				t.Errorf("%s'(%v) = %v, want %v", name, x, got, want)
			}
		}
	}
}

func TestActivateSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachISA(t, func(t *testing.T) {
		for act, name := range activationNames {
			if act == kernels.NoActivation {
				continue
			}
			x := []float32{inf, nan, 1}
			dst := make([]float32, 3)
			Activate(dst, x, act)
			top := inf
			if act == kernels.Tanh {
				top = 1
			}
			if dst[0] != top || dst[1] == dst[1] {
				t.Errorf("%s of +Inf, NaN = %v", name, dst[:2])
			}
			if act != kernels.ReLU {
				ActivateGrad(dst, []float32{1, 1, 1}, x, act)
				if dst[1] == dst[1] {
					t.Errorf("%s' of NaN = %v", name, dst[1])
				}
			}
		}
	})
}

// Every length around a vector, in place and not, leaves the elements beyond alone.
func TestActivateLengths(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		for act, name := range activationNames {
			for n := range 70 {
				x, dy, dst := make([]float32, n), make([]float32, n), make([]float32, n+20)
				for i := range x {
					x[i], dy[i] = float32(i)/9-3, 2
				}
				check := func(what string, want func(x float64) float64) {
					t.Helper()
					for i, v := range dst {
						w := 7.0
						if i < n {
							w = want(float64(x[i]))
						}
						if math.Abs(float64(v)-w) > 2e-6 {
							t.Fatalf("%s %s, %d elements: element %d is %v, want %v", name, what, n, i, v, w)
						}
					}
				}
				prepare := func(from []float32) []float32 {
					for i := range dst {
						dst[i] = 7
					}
					copy(dst, from)
					return dst[:n]
				}
				value := func(v float64) float64 { return activation(v, act) }
				slope := func(v float64) float64 { return 2 * activationSlope(v, act) }
				Activate(prepare(nil), x, act)
				check("forward", value)
				d := prepare(x)
				Activate(d, d, act)
				check("forward in place", value)
				ActivateGrad(prepare(nil), dy, x, act)
				check("backward", slope)
				d = prepare(dy)
				ActivateGrad(d, d, x, act)
				check("backward in place of dy", slope)
				d = prepare(x)
				ActivateGrad(d, dy, d, act)
				check("backward in place of x", slope)
			}
		}
	})
}

func BenchmarkActivate(b *testing.B) {
	was := Active()
	defer Use(was)
	x, dst := make([]float32, 4096), make([]float32, 4096)
	for i := range x {
		x[i] = float32(i%97)/16 - 3
	}
	for isa := Best; isa > Generic; isa-- {
		for act := kernels.GELU; act <= kernels.Tanh; act++ {
			b.Run(fmt.Sprintf("%s/%s", isa, activationNames[act]), func(b *testing.B) {
				Use(isa)
				for b.Loop() {
					Activate(dst, x, act)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/element")
			})
			b.Run(fmt.Sprintf("%s/%sGrad", isa, activationNames[act]), func(b *testing.B) {
				Use(isa)
				for b.Loop() {
					ActivateGrad(dst, x, x, act)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/element")
			})
		}
	}
}
