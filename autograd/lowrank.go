package autograd

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// LowRank describes the addition of a low-rank product to some columns of a Linear's output, in place:
// Y[:, Col:Col+N] += RowScale·Gamma·Scale·(X·Aᵀ)·Bᵀ. Gamma and RowScale are those of the Linear.
type LowRank struct {
	Y        *Var // [M, at least Col+N], the Linear's output, without activation
	X        *Var // [M, K]
	A        *Var // [r, K]
	B        *Var // [N, r]
	Col      int
	Scale    float64
	Gamma    *Var           // [N] of the same columns
	RowScale *tensor.Tensor // [M]
}

// LowRank adds the adapter's product to l.Y. Nothing may have read l.Y's value for backward yet.
func (t *Tape) LowRank(l LowRank) {
	m, k := rowsCols(l.X.Value)
	r, n := l.A.Dim(0), l.B.Dim(0)
	needs := l.X.needs || l.A.needs || l.B.needs || l.Gamma.NeedsGrad()
	// A Linear that needed no gradient itself left nothing on the tape: then this operation is the one that ends
	// the output's gradient.
	first := !l.Y.needs
	if needs && t.mode != noGrad {
		l.Y.needs = true
	}
	u := t.A.New(t.DType, m, r)
	t.B.Gemm(kernels.Gemm{M: m, N: r, K: k, Out: u, A: l.X.Value, B: l.A.Value, TransB: true})
	t.B.Gemm(kernels.Gemm{
		M: m, N: n, K: r, Out: l.Y.Value, OutCol: l.Col, A: u, B: l.B.Value, TransB: true, Alpha: l.Scale,
		Gamma: value(l.Gamma), RowScale: l.RowScale, Accumulate: true,
	})
	op := Op{Out: l.Y, InPlace: !first, Saves: [4]*Var{l.X, l.A, l.B, l.Gamma}, Uses: [4]*Var{l.A, l.B, l.Gamma}, Scratch: [3]*tensor.Tensor{u}}
	if !needs {
		t.freeScratch(&op)
		return
	}
	op.Backward = func(dy *tensor.Tensor) { t.lowRankBackward(&l, u, dy, m, n, k, r) }
	t.Record(op)
}

func (t *Tape) lowRankBackward(l *LowRank, u, dy *tensor.Tensor, m, n, k, r int) {
	col := l.Col
	dz := dy
	if l.RowScale != nil || l.Gamma != nil {
		// The columns must line up with Gamma, which spans the whole width: LayerScale sits on layers of one part.
		if col != 0 || dy.Dim(-1) != n {
			panic("autograd: LowRank with LayerScale or drop path on part of the columns")
		}
	}
	if l.RowScale != nil {
		dz = t.A.New(t.DType, m, n)
		t.B.ScaleRowsCols(dz, dy, l.RowScale, nil)
	}
	if l.Gamma != nil && (l.B.needs || l.Gamma.needs) {
		g := t.A.New(t.DType, n, r)
		zero := t.A.New(t.StatType(), n)
		t.B.Fill(zero, 0)
		t.B.Gemm(kernels.Gemm{M: n, N: r, K: m, Out: g, A: dz, TransA: true, B: u, Alpha: l.Scale})
		var db *tensor.Tensor
		if l.B.needs {
			db = t.ZeroedGradBuffer(l.B)
		}
		dgamma := zero
		var spare *tensor.Tensor
		if l.Gamma.needs {
			dgamma = t.ZeroedGradBuffer(l.Gamma)
		} else {
			spare = t.A.New(l.Gamma.Value.DType(), n)
			t.B.Fill(spare, 0)
			dgamma = spare
		}
		t.B.LayerScaleBackward(db, nil, dgamma, g, zero, l.B.Value, nil, l.Gamma.Value)
		t.A.Free(spare)
		t.A.Free(zero)
		t.A.Free(g)
	}
	if l.Gamma != nil {
		scaled := t.A.New(t.DType, m, n)
		t.B.ScaleRowsCols(scaled, dz, nil, l.Gamma.Value)
		if dz != dy {
			t.A.Free(dz)
		}
		dz = scaled
	} else if l.B.needs {
		db, acc := t.GradBuffer(l.B)
		t.B.Gemm(kernels.Gemm{M: n, N: r, K: m, Out: db, A: dz, TransA: true, ACol: col, B: u, Alpha: l.Scale, Accumulate: acc})
	}
	if l.A.needs || l.X.needs {
		du := t.A.New(t.DType, m, r)
		t.B.Gemm(kernels.Gemm{M: m, N: r, K: n, Out: du, A: dz, ACol: col, B: l.B.Value, Alpha: l.Scale})
		if l.A.needs {
			da, acc := t.GradBuffer(l.A)
			t.B.Gemm(kernels.Gemm{M: r, N: k, K: m, Out: da, A: du, TransA: true, B: l.X.Value, Accumulate: acc})
		}
		if l.X.needs {
			dx, acc := t.gradBuffer(l.X)
			t.B.Gemm(kernels.Gemm{
				M: m, N: k, K: r, Out: dx, A: du, B: l.A.Value, Accumulate: acc, ActGrad: l.X.act, GradOf: l.X.pre,
			})
		}
		t.A.Free(du)
	}
	if dz != dy {
		t.A.Free(dz)
	}
}
