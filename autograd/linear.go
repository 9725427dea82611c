package autograd

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Linear describes out = Residual + RowScale·Gamma·Act(X·Wᵀ + B). All but X and W may be left out.
type Linear struct {
	X *Var // [M, K]
	W *Var // [N, K]
	B *Var // [N]
	// Act keeps its input for backward, and the gradient collected by the output is the one before Act.
	Act      kernels.Activation
	Residual *Var           // [M, N]
	Gamma    *Var           // [N]: LayerScale
	RowScale *tensor.Tensor // [M]: drop path
}

// Linear is a matrix product with everything a transformer block hangs on it, in one pass. Act cannot be
// combined with Residual, Gamma or RowScale.
func (t *Tape) Linear(l Linear) *Var {
	if l.Act != kernels.NoActivation && (l.Residual != nil || l.Gamma != nil || l.RowScale != nil) {
		panic("autograd: Linear with both an activation and a residual epilogue")
	}
	m, k := rowsCols(l.X.Value)
	n := l.W.Dim(0)
	needs := l.X.needs || l.W.needs || l.B.NeedsGrad() || l.Residual.NeedsGrad() || l.Gamma.NeedsGrad()
	y := t.New(needs, m, n)
	g := kernels.Gemm{
		M: m, N: n, K: k, Out: y.Value, A: l.X.Value, B: l.W.Value, TransB: true,
		Act: l.Act, RowScale: l.RowScale, Bias: value(l.B), Residual: value(l.Residual), Gamma: value(l.Gamma),
	}
	op := Op{Out: y, Saves: [4]*Var{nil, l.W, l.B, l.Gamma}, Uses: [4]*Var{l.W, l.B, l.Gamma}}
	if l.readsX() {
		op.Saves[0] = l.X.saved()
	}
	record := t.Recording(y.needs)
	if record && l.Act != kernels.NoActivation {
		g.Pre = t.A.New(t.DType, m, n)
		y.pre, y.act = g.Pre, l.Act
		y.again = func(dst *tensor.Tensor) { t.B.ActForward(dst, g.Pre, l.Act) }
		op.Scratch[0] = g.Pre
	}
	t.B.Gemm(g)
	if record {
		op.Backward = func(dy *tensor.Tensor) { t.linearBackward(&l, y, dy) }
	}
	t.Record(op)
	return y
}

// readsX reports whether backward needs the value of X: for the weight's gradient, and with Gamma for what all three
// parameters share.
func (l *Linear) readsX() bool {
	return l.W.needs || l.Gamma != nil && (l.B.NeedsGrad() || l.Gamma.needs)
}

func (t *Tape) linearBackward(l *Linear, y *Var, dy *tensor.Tensor) {
	m, k := rowsCols(l.X.Value)
	n := l.W.Dim(0)
	branch := l.X.needs || l.W.needs || l.B.NeedsGrad() || l.Gamma.NeedsGrad()
	if branch {
		dz := dy
		if l.RowScale != nil {
			dz = t.A.New(t.DType, m, n)
			t.B.ScaleRowsCols(dz, dy, l.RowScale, nil)
		}
		w := l.W.Value
		if l.Gamma == nil {
			if l.B.NeedsGrad() {
				db, acc := t.GradBuffer(l.B)
				t.B.ColSum(db, dz, 1, acc)
			}
			if l.W.needs {
				dw, acc := t.GradBuffer(l.W)
				x, made := t.restore(l.X)
				t.B.Gemm(kernels.Gemm{M: n, N: k, K: m, Out: dw, A: dz, TransA: true, B: x, Accumulate: acc})
				if made {
					t.A.Free(x)
				}
			}
		} else {
			t.layerScale(l, dz, m, n, k)
			if l.X.needs {
				w = t.A.New(t.DType, n, k)
				t.B.ScaleRowsCols(w, l.W.Value.Reshape(n, k), l.Gamma.Value, nil)
			}
		}
		if l.X.needs {
			dx, acc := t.gradBuffer(l.X)
			t.B.Gemm(kernels.Gemm{
				M: m, N: k, K: n, Out: dx, A: dz, B: w, Accumulate: acc,
				ActGrad: l.X.act, GradOf: l.X.pre,
			})
		}
		if w != l.W.Value {
			t.A.Free(w)
		}
		if dz != dy {
			t.A.Free(dz)
		}
	}
	if l.Residual.NeedsGrad() {
		t.PassGrad(l.Residual, y)
	}
}

// layerScale accumulates the gradients of weight, bias and gamma from the one product g = dzᵀ·x.
func (t *Tape) layerScale(l *Linear, dz *tensor.Tensor, m, n, k int) {
	if !l.readsX() {
		return
	}
	g := t.A.New(t.DType, n, k)
	c := t.A.New(t.StatType(), n)
	x, made := t.restore(l.X)
	t.B.Gemm(kernels.Gemm{M: n, N: k, K: m, Out: g, A: dz, TransA: true, B: x})
	if made {
		t.A.Free(x)
	}
	t.B.ColSum(c, dz, 1, false)
	var dw, db, spare *tensor.Tensor
	if l.W.needs {
		dw = t.ZeroedGradBuffer(l.W)
	}
	if l.B.NeedsGrad() {
		db = t.ZeroedGradBuffer(l.B)
	}
	var dgamma *tensor.Tensor
	if l.Gamma.needs {
		dgamma = t.ZeroedGradBuffer(l.Gamma)
	} else {
		spare = t.A.New(l.Gamma.Value.DType(), n)
		t.B.Fill(spare, 0)
		dgamma = spare
	}
	t.B.LayerScaleBackward(dw, db, dgamma, g, c, l.W.Value, value(l.B), l.Gamma.Value)
	t.A.Free(spare)
	t.A.Free(c)
	t.A.Free(g)
}

func value(v *Var) *tensor.Tensor {
	if v == nil {
		return nil
	}
	return v.Value
}
