package autograd_test

import (
	"testing"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/autograd/gradcheck"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/tensor"
)

// param makes a float64 parameter with entries of the given size around offset.
func param(seed uint32, scale, offset float64, shape ...int) *autograd.Var {
	v, g := tensor.Zeros(tensor.F64, shape...), tensor.Zeros(tensor.F64, shape...)
	r := tensor.NewRand(7, seed, 0, 1<<26)
	for i := range v.F64() {
		v.F64()[i] = offset + scale*r.Norm()
	}
	return autograd.NewParam(v, g)
}

func sequences(starts ...int32) kernels.Sequences {
	longest := 0
	for i := 1; i < len(starts); i++ {
		longest = max(longest, int(starts[i]-starts[i-1]))
	}
	return kernels.Sequences{Starts: tensor.FromI32(starts, len(starts)), Host: starts, MaxLen: longest}
}

func index(v ...int32) *tensor.Tensor { return tensor.FromI32(v, len(v)) }

func TestGradients(t *testing.T) {
	const m, k, n = 7, 5, 6
	x, w, b := param(1, 1, 0, m, k), param(2, 0.5, 0, n, k), param(3, 1, 0, n)
	res, gamma := param(4, 1, 0, m, n), param(5, 0.3, 1, n)
	w2 := param(6, 0.5, 0, 4, n)
	la, lb := param(7, 0.5, 0, 2, k), param(8, 0.5, 0, n, 2)
	shift := param(9, 1, 0, k)
	scale := param(10, 0.3, 1, k)
	qkv := param(11, 0.7, 0, m, 24)
	rowScale := tensor.FromF32([]float32{2, 0, 2, 2, 0, 2, 2}, m)
	pick := autograd.RowMap{Index: index(4, 1, 2), Inverse: index(-1, 1, 2, -1, 0, -1, -1)}
	part := param(12, 1, 0, 3, k)
	cos, sin := tensor.FromF64([]float64{0.6, 0.8, 1, 0.28}, 2, 2), tensor.FromF64([]float64{0.8, 0.6, 0, 0.96}, 2, 2)
	gain := param(13, 0.3, 1, n)
	list := func(v ...*autograd.Var) []*autograd.Var { return v }
	all := func(vs ...*autograd.Var) (out []gradcheck.Named) {
		for i, v := range vs {
			out = append(out, gradcheck.Named{Name: "input " + string(rune('0'+i)), Var: v})
		}
		return out
	}
	cases := []struct {
		name string
		vars []gradcheck.Named
		f    func(t *autograd.Tape) []*autograd.Var
	}{
		{"linear", all(x, w, b), func(t *autograd.Tape) []*autograd.Var {
			return list(t.Linear(autograd.Linear{X: x, W: w, B: b}))
		}},
		{"linear, weight used twice", all(x, w, b), func(t *autograd.Tape) []*autograd.Var {
			y := t.Linear(autograd.Linear{X: x, W: w, B: b})
			return list(y, t.Linear(autograd.Linear{X: x, W: w, B: b, Residual: y}))
		}},
		{"gelu between linears", all(x, w, b, w2), func(t *autograd.Tape) []*autograd.Var {
			h := t.Linear(autograd.Linear{X: x, W: w, B: b, Act: kernels.GELU})
			y := t.Linear(autograd.Linear{X: h, W: w2})
			t.Release(h)
			return list(y)
		}},
		{"act apart", all(x, w, b, w2), func(t *autograd.Tape) []*autograd.Var {
			z := t.Linear(autograd.Linear{X: x, W: w, B: b})
			h := t.Act(z, kernels.SiLU)
			t.Release(z)
			y := t.Linear(autograd.Linear{X: h, W: w2})
			t.Release(h)
			return list(y)
		}},
		{"residual, gamma, drop path", all(x, w, b, res, gamma), func(t *autograd.Tape) []*autograd.Var {
			return list(t.Linear(autograd.Linear{X: x, W: w, B: b, Residual: res, Gamma: gamma, RowScale: rowScale}))
		}},
		{"residual and gamma", all(x, w, b, res, gamma), func(t *autograd.Tape) []*autograd.Var {
			return list(t.Linear(autograd.Linear{X: x, W: w, B: b, Residual: res, Gamma: gamma}))
		}},
		{"low rank under gamma and drop path", all(x, w, b, gamma, la, lb), func(t *autograd.Tape) []*autograd.Var {
			y := t.Linear(autograd.Linear{X: x, W: w, B: b, Gamma: gamma, RowScale: rowScale})
			t.LowRank(autograd.LowRank{Y: y, X: x, A: la, B: lb, Scale: 1.7, Gamma: gamma, RowScale: rowScale})
			return list(y)
		}},
		{"low rank on some columns with dropout after gelu", all(x, w, b, qkv, la, lb), func(t *autograd.Tape) []*autograd.Var {
			h := t.Linear(autograd.Linear{X: x, W: w, B: b, Act: kernels.GELU})
			d := t.Dropout(h, 0.3, 5, 1)
			y := t.Linear(autograd.Linear{X: h, W: w2})
			t.LowRank(autograd.LowRank{Y: y, X: d, A: laN, B: lbN, Col: 1, Scale: 0.5})
			t.Release(d)
			t.Release(h)
			z := t.LayerNorm(qkv, wideGain, wideShift, 1e-6)
			return list(y, z, t.Linear(autograd.Linear{X: t.Linear(autograd.Linear{X: x, W: la}), W: lb}))
		}},
		{"layer norm", all(x, scale, shift), func(t *autograd.Tape) []*autograd.Var {
			return list(t.LayerNorm(x, scale, shift, 1e-6))
		}},
		{"attention with rope", all(qkv), func(t *autograd.Tape) []*autograd.Var {
			z := t.LayerNorm(qkv, wideGain, wideShift, 1e-6)
			t.RoPE(z, cos, sin, index(-1, 0, 1, -1, 1, 0, 1), 2)
			y := t.Attention(z, sequences(0, 3, 7), 2, 0.5)
			t.Release(z)
			return list(y)
		}},
		{"swiglu", all(res), func(t *autograd.Tape) []*autograd.Var { return list(t.SwiGLU(res)) }},
		{"product", all(x, w, b), func(t *autograd.Tape) []*autograd.Var {
			gate := t.Linear(autograd.Linear{X: x, W: w, B: b, Act: kernels.GELU})
			up := t.Linear(autograd.Linear{X: x, W: w})
			y := t.Mul(gate, up)
			t.Release(gate)
			t.Release(up)
			return list(y)
		}},
		{"product with a leaf", all(x, part), func(t *autograd.Tape) []*autograd.Var { return list(t.Mul(t.Gather(x, pick), part)) }},
		{"gather and scatter", all(x, part), func(t *autograd.Tape) []*autograd.Var {
			y := t.Gather(x, pick)
			return list(y, t.ScatterAdd(x, part, pick))
		}},
		{"slices", all(x), func(t *autograd.Tape) []*autograd.Var {
			y := t.LayerNorm(x, scale, shift, 1e-6)
			return list(t.Slice(y, 0, 2), t.L2Normalize(t.Slice(y, 2, 5), 1e-12), t.L2Normalize(y, 1e-12))
		}},
		{"weight norm", all(w, gain), func(t *autograd.Tape) []*autograd.Var { return list(t.WeightNorm(w, gain)) }},
		{"weight norm without gain", all(w), func(t *autograd.Tape) []*autograd.Var { return list(t.WeightNorm(w, nil)) }},
		{"checkpoint", all(x, w, b, w2), func(t *autograd.Tape) []*autograd.Var {
			y := t.Checkpoint(x, func(x *autograd.Var) *autograd.Var {
				h := t.Linear(autograd.Linear{X: x, W: w, B: b, Act: kernels.GELU})
				y := t.Linear(autograd.Linear{X: h, W: w2})
				t.Release(h)
				return y
			})
			return list(t.L2Normalize(y, 1e-12), t.Linear(autograd.Linear{X: x, W: w}))
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			worst, err := gradcheck.Run(ref.New(), c.vars, gradcheck.Options{Elements: 40}, c.f)
			if err != nil {
				t.Error(err)
			}
			if worst == 0 {
				t.Error("nothing was compared")
			}
		})
	}
}

var (
	laN, lbN            = param(20, 0.5, 0, 2, 6), param(21, 0.5, 0, 3, 2)
	wideGain, wideShift = param(22, 0.3, 1, 24), param(23, 0.3, 0, 24)
)
