package autograd

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// LayerNorm normalises the last dimension of x [R, D] and applies gamma and beta [D].
func (t *Tape) LayerNorm(x, gamma, beta *Var, eps float64) *Var {
	r, d := rowsCols(x.Value)
	y := t.New(x.needs || gamma.needs || beta.needs, r, d)
	mean, rstd := t.A.New(t.StatType(), r), t.A.New(t.StatType(), r)
	t.B.LayerNorm(y.Value, mean, rstd, x.Value, gamma.Value, beta.Value, eps)
	op := Op{Out: y, Saves: [4]*Var{x, gamma}, Uses: [4]*Var{gamma, beta}, Scratch: [3]*tensor.Tensor{mean, rstd}}
	if t.Recording(y.needs) {
		y.again = func(dst *tensor.Tensor) { t.B.LayerNorm(dst, mean, rstd, x.Value, gamma.Value, beta.Value, eps) }
		op.Backward = func(dy *tensor.Tensor) {
			var dgamma, dbeta, spare, spareX *tensor.Tensor
			if gamma.needs || beta.needs {
				dgamma, dbeta = t.gradOrScratch(gamma, &spare), t.gradOrScratch(beta, &spare)
			}
			var dx *tensor.Tensor
			acc := false
			if x.needs {
				dx, acc = t.GradBuffer(x)
			} else {
				spareX = t.A.New(t.DType, r, d)
				dx = spareX
			}
			t.B.LayerNormBackward(dx, dgamma, dbeta, dy, x.Value, mean, rstd, gamma.Value, acc)
			t.A.Free(spareX)
			t.A.Free(spare)
		}
	}
	t.Record(op)
	return y
}

// gradOrScratch is the gradient of p to add to, or scratch memory when p is frozen; at most one of a pair is.
func (t *Tape) gradOrScratch(p *Var, spare **tensor.Tensor) *tensor.Tensor {
	if p.needs {
		return t.ZeroedGradBuffer(p)
	}
	*spare = t.A.New(p.Value.DType(), p.Value.Shape()...)
	t.B.Fill(*spare, 0)
	return *spare
}

// Attention is softmax attention over the packed sequences of qkv [T, 3·heads·d]; the result is [T, heads·d].
func (t *Tape) Attention(qkv *Var, seqs kernels.Sequences, heads int, scale float64) *Var {
	rows, width := rowsCols(qkv.Value)
	y := t.New(qkv.needs, rows, width/3)
	a := kernels.Attention{Out: y.Value, QKV: qkv.Value, Seqs: seqs, Heads: heads, Scale: scale}
	op := Op{Out: y, Saves: [4]*Var{qkv, y}}
	if t.Recording(y.needs) {
		a.LSE = t.A.New(t.StatType(), heads, rows)
		op.Scratch[0] = a.LSE
		op.Backward = func(dy *tensor.Tensor) {
			dqkv, acc := t.GradBuffer(qkv)
			if acc {
				panic("autograd: qkv has a second reader")
			}
			delta := t.A.New(t.StatType(), heads, rows)
			t.B.AttentionBackward(kernels.AttentionGrad{Attention: a, DOut: dy, DQKV: dqkv, Delta: delta})
			t.A.Free(delta)
		}
	}
	t.B.Attention(a)
	t.Record(op)
	return y
}

// RoPE rotates q and k of qkv in place; see kernels.Backend.RoPE.
func (t *Tape) RoPE(qkv *Var, cos, sin, index *tensor.Tensor, heads int) {
	t.B.RoPE(qkv.Value, cos, sin, index, heads, false)
	op := Op{Out: qkv, InPlace: true}
	if t.Recording(qkv.needs) {
		op.Backward = func(dy *tensor.Tensor) { t.B.RoPE(dy, cos, sin, index, heads, true) }
	}
	t.Record(op)
}

// Act is act(x) for an x that could not be fused with it. The gradient handed on is the one of x.
func (t *Tape) Act(x *Var, act kernels.Activation) *Var {
	r, d := rowsCols(x.Value)
	y := t.New(x.needs, r, d)
	t.B.ActForward(y.Value, x.Value, act)
	op := Op{Out: y, Saves: [4]*Var{x}}
	if t.Recording(y.needs) {
		y.pre, y.act = x.Value, act
		y.again = func(dst *tensor.Tensor) { t.B.ActForward(dst, x.Value, act) }
		op.Backward = func(*tensor.Tensor) { t.PassGrad(x, y) }
	}
	t.Record(op)
	return y
}

// SwiGLU is silu(x[:, :H])·x[:, H:] for x [R, 2H].
func (t *Tape) SwiGLU(x *Var) *Var {
	r, d := rowsCols(x.Value)
	y := t.New(x.needs, r, d/2)
	t.B.SwiGLU(y.Value, x.Value)
	op := Op{Out: y, Saves: [4]*Var{x}}
	if t.Recording(y.needs) {
		y.again = func(dst *tensor.Tensor) { t.B.SwiGLU(dst, x.Value) }
		op.Backward = func(dy *tensor.Tensor) {
			dx, acc := t.GradBuffer(x)
			if acc {
				panic("autograd: the SwiGLU input has a second reader")
			}
			t.B.SwiGLUBackward(dx, dy, x.Value)
		}
	}
	t.Record(op)
	return y
}

// Mul is a·b, element by element, for a and b of one shape that nothing else reads.
func (t *Tape) Mul(a, b *Var) *Var {
	product := func(out, x, y *tensor.Tensor) {
		n := x.Len()
		t.B.ScaleRowsCols(out.Reshape(1, n), x.Reshape(1, n), nil, y.Reshape(n))
	}
	// with calls fn with v's value, which it computes again where it was freed.
	with := func(v *Var, fn func(x *tensor.Tensor)) {
		x, made := t.restore(v)
		fn(x)
		if made {
			t.A.Free(x)
		}
	}
	needs := a.needs || b.needs
	y := t.New(needs, a.Value.Shape()...)
	product(y.Value, a.Value, b.Value)
	op := Op{Out: y, Saves: [4]*Var{a.saved(), b.saved()}}
	if t.Recording(needs) {
		y.again = func(dst *tensor.Tensor) {
			with(a, func(x *tensor.Tensor) { with(b, func(z *tensor.Tensor) { product(dst, x, z) }) })
		}
		op.Backward = func(dy *tensor.Tensor) {
			for _, side := range [][2]*Var{{a, b}, {b, a}} {
				v, factor := side[0], side[1]
				if !v.needs {
					continue
				}
				d, acc := t.gradBuffer(v)
				if acc {
					panic("autograd: a factor has a second reader")
				}
				with(factor, func(x *tensor.Tensor) { product(d, dy, x) })
				if v.pre != nil { // the gradient of an activation's output is kept as that of its input
					t.B.ActBackward(d, d, v.pre, v.act)
				}
			}
		}
	}
	t.Record(op)
	return y
}

// Dropout is the inverted dropout of kernels.Backend.Dropout. With p = 0 it returns x itself.
func (t *Tape) Dropout(x *Var, p float64, seed uint64, offset uint32) *Var {
	if p == 0 {
		return x
	}
	y := t.New(x.needs, x.Value.Shape()...)
	t.B.Dropout(y.Value, x.Value, p, seed, offset)
	op := Op{Out: y}
	if t.Recording(y.needs) {
		op.Backward = func(dy *tensor.Tensor) {
			t.B.Dropout(dy, dy, p, seed, offset)
			if x.pre != nil {
				t.B.ActBackward(dy, dy, x.pre, x.act)
			}
			g, acc := t.gradBuffer(x)
			if acc {
				t.B.Axpy(g, 1, dy)
			} else {
				t.B.Copy(g, dy)
			}
		}
	}
	t.Record(op)
	return y
}

// Gather picks rows of x [R, D].
func (t *Tape) Gather(x *Var, m RowMap) *Var {
	_, d := rowsCols(x.Value)
	y := t.New(x.needs, m.Index.Len(), d)
	t.B.GatherRows(y.Value, x.Value, m.Index, false)
	op := Op{Out: y}
	if t.Recording(y.needs) {
		op.Backward = func(dy *tensor.Tensor) {
			dx, acc := t.GradBuffer(x)
			t.B.GatherRows(dx, dy, m.Inverse, acc)
		}
	}
	t.Record(op)
	return y
}

// ScatterAdd is x with the rows of y [n, D] added where m picked them: the inverse of Gather, for branches that
// run on part of the batch.
func (t *Tape) ScatterAdd(x, y *Var, m RowMap) *Var {
	r, d := rowsCols(x.Value)
	z := t.New(x.needs || y.needs, r, d)
	t.B.Copy(z.Value, x.Value)
	t.B.GatherRows(z.Value, y.Value, m.Inverse, true)
	op := Op{Out: z}
	if t.Recording(z.needs) {
		op.Backward = func(dz *tensor.Tensor) {
			if y.needs {
				dy, acc := t.GradBuffer(y)
				t.B.GatherRows(dy, dz, m.Index, acc)
			}
			t.PassGrad(x, z)
		}
	}
	t.Record(op)
	return z
}

// Slice views rows lo to hi of x without a copy; its gradient lies in x's.
func (t *Tape) Slice(x *Var, lo, hi int) *Var {
	v := t.newVar()
	v.Value = x.Value.Rows(lo, hi)
	v.needs = x.needs && t.mode != noGrad
	v.parent, v.lo = x, lo
	if x.param {
		t.Record(Op{Out: v, Uses: [4]*Var{x}, Backward: func(*tensor.Tensor) {}})
	}
	return v
}

// L2Normalize divides every row of x by max(‖row‖, eps).
func (t *Tape) L2Normalize(x *Var, eps float64) *Var {
	r, d := rowsCols(x.Value)
	y := t.New(x.needs, r, d)
	norm := t.A.New(t.StatType(), r)
	t.B.L2Normalize(y.Value, norm, x.Value, eps)
	op := Op{Out: y, Saves: [4]*Var{y}, Scratch: [3]*tensor.Tensor{norm}}
	if t.Recording(y.needs) {
		op.Backward = func(dy *tensor.Tensor) {
			dx, acc := t.GradBuffer(x)
			dst := dx
			if acc {
				dst = t.A.New(t.DType, r, d)
			}
			t.B.L2NormalizeBackward(dst, dy, y.Value, norm, eps)
			if acc {
				t.B.Axpy(dx, 1, dst)
				t.A.Free(dst)
			}
		}
	}
	t.Record(op)
	return y
}

// WeightNorm is gain·v/‖v‖ row by row; gain may be nil for ones.
func (t *Tape) WeightNorm(v, gain *Var) *Var {
	r, d := rowsCols(v.Value)
	w := t.New(v.needs || gain.NeedsGrad(), r, d)
	norm := t.A.New(t.StatType(), r)
	t.B.WeightNorm(w.Value, norm, v.Value, value(gain))
	op := Op{Out: w, Saves: [4]*Var{v, gain}, Uses: [4]*Var{v, gain}, Scratch: [3]*tensor.Tensor{norm}}
	if t.Recording(w.needs) {
		op.Backward = func(dw *tensor.Tensor) {
			var dv, dgain, spare *tensor.Tensor
			if v.needs {
				dv = t.ZeroedGradBuffer(v)
			} else {
				spare = t.A.New(t.DType, r, d)
				t.B.Fill(spare, 0)
				dv = spare
			}
			if gain.NeedsGrad() {
				dgain = t.ZeroedGradBuffer(gain)
			}
			t.B.WeightNormBackward(dv, dgain, dw, v.Value, value(gain), norm)
			t.A.Free(spare)
		}
	}
	t.Record(op)
	return w
}
