package nn

import (
	"math"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Block is a pre-norm transformer block:
// x ← x + drop·Gamma1·Proj(attention(QKV(Norm1 x))); x ← x + drop·Gamma2·FC2(act(FC1(Norm2 x))).
// A gated MLP is FC2(act(gate(y))·up(y)) with y = Norm2 x.
type Block struct {
	Norm1, Norm2   *LayerNorm
	QKV, Proj      *Linear
	FC1, FC2       *Linear // FC1 of a gated MLP with SiLU stacks gate and up
	Gate           *Linear // of a gated MLP with another activation, whose FC1 is up alone; else nil
	Gamma1, Gamma2 *Weight // LayerScale, or nil

	heads int
	act   kernels.Activation
	gated bool
}

func (m *maker) block(c ViTConfig, i int) *Block {
	f, d, depth := c.Family, c.Dim, i+1
	prefix := f.block(i)
	before, after := f.norms()
	q, k, val, proj := f.attention()
	in, out := f.mlp(c.Gated)
	w := Init{TruncNormal, 0.02}
	at := Param{Depth: depth}

	b := &Block{heads: c.Heads, act: c.Act, gated: c.Gated}
	b.Norm1 = m.layerNorm(prefix+before, d, c.NormEps, depth)
	b.QKV = m.linear(d, w, at,
		linearPart{prefix + q, d, c.QueryBias}, linearPart{prefix + k, d, c.KeyBias}, linearPart{prefix + val, d, c.ValueBias})
	b.Proj = m.linear(d, w, at, linearPart{prefix + proj, d, c.ProjBias})
	b.Gamma1 = m.layerScale(c, prefix+"layer_scale1.lambda1", depth)
	b.Norm2 = m.layerNorm(prefix+after, d, c.NormEps, depth)
	hidden := c.MLPDim
	if c.Gated {
		hidden = 2 * c.MLPDim
	}
	var parts []linearPart
	for _, name := range in {
		parts = append(parts, linearPart{prefix + name, hidden / len(in), c.MLPBias})
	}
	if c.Gated && c.Act != kernels.SiLU {
		b.Gate, parts = m.linear(d, w, at, parts[0]), parts[1:]
	}
	b.FC1 = m.linear(d, w, at, parts...)
	b.FC2 = m.linear(c.MLPDim, w, at, linearPart{prefix + out, d, c.MLPBias})
	b.Gamma2 = m.layerScale(c, prefix+"layer_scale2.lambda1", depth)
	return b
}

func (m *maker) layerScale(c ViTConfig, name string, depth int) *Weight {
	if !c.LayerScale {
		return nil
	}
	w := m.weight(c.Dim)
	m.whole(w, Param{
		Name: name, Shape: tensor.Shape{c.Dim}, Kind: Gamma, Depth: depth, Init: Init{Constant, c.LayerScaleInit},
	})
	return w
}

// branchInput is the input of one residual branch besides the tokens.
type branchInput struct {
	seqs  kernels.Sequences
	rope  ropeTable
	index *tensor.Tensor // RoPE rows of the tokens
	scale *tensor.Tensor // [rows] drop-path factor, or nil
	pick  *autograd.RowMap
	skip  bool // no crop takes the branch; pick is all rows
}

// blockInput is the input of a block besides the tokens.
type blockInput struct {
	attn, mlp branchInput
	rows      *autograd.RowMap // in the last block the only rows that are needed of the result, or nil for all
	few       *autograd.RowMap // where they are among the rows of attn.pick; nil without rows or pick
	draw      Draw
	queries   *tensor.Tensor
	probs     *tensor.Tensor
}

// subset reports whether branches run on part of the batch.
func (bi *blockInput) subset() bool { return bi.attn.pick != nil }

func (b *Block) forward(t *autograd.Tape, x *autograd.Var, in blockInput) *autograd.Var {
	if in.rows != nil {
		return b.forwardRows(t, x, in)
	}
	if in.subset() {
		x1 := b.branch(t, x, in.attn, func(x *autograd.Var, e Epilogue) *autograd.Var {
			return b.attend(t, x, in, e)
		})
		x2 := b.branch(t, x1, in.mlp, func(x *autograd.Var, e Epilogue) *autograd.Var {
			return b.mlp(t, x, in.draw, e)
		})
		t.Release(x1)
		return x2
	}
	x1 := b.attend(t, x, in, Epilogue{Residual: x, RowScale: in.attn.scale})
	x2 := b.mlp(t, x1, in.draw, Epilogue{Residual: x1, RowScale: in.mlp.scale})
	t.Release(x1)
	return x2
}

// forwardRows computes the block for the rows that are needed of the result. Behind the attention nothing mixes tokens, so
// the other rows go no further. Drop-path factors are those of the needed rows; where only some crops take the attention
// branch, the rows of the others have factor 0.
func (b *Block) forwardRows(t *autograd.Tape, x *autograd.Var, in blockInput) *autograd.Var {
	var x1 *autograd.Var
	if in.attn.skip {
		x1 = t.Gather(x, *in.rows)
	} else {
		from, few := x, in.rows
		if in.subset() {
			from, few = t.Gather(x, *in.attn.pick), in.few
		}
		a := b.attention(t, from, in)
		if in.subset() {
			t.Release(from)
		}
		// The residual is gathered behind the attention, so that backward adds its gradient first, as in the other blocks.
		y, res := t.Gather(a, *few), t.Gather(x, *in.rows)
		t.Release(a)
		x1 = b.Proj.Forward(t, y, Epilogue{Gamma: b.Gamma1, Residual: res, RowScale: in.attn.scale}, in.draw)
		t.Release(y)
		t.Release(res)
	}
	x2 := b.mlp(t, x1, in.draw, Epilogue{Residual: x1, RowScale: in.mlp.scale})
	t.Release(x1)
	return x2
}

// branch runs fn on the picked rows and adds the result to x.
func (b *Block) branch(t *autograd.Tape, x *autograd.Var, in branchInput, fn func(*autograd.Var, Epilogue) *autograd.Var) *autograd.Var {
	part := t.Gather(x, *in.pick)
	if in.skip {
		return part
	}
	y := fn(part, Epilogue{RowScale: in.scale})
	t.Release(part)
	z := t.ScatterAdd(x, y, *in.pick)
	t.Release(y)
	return z
}

// attend is the attention branch with its residual epilogue e.
func (b *Block) attend(t *autograd.Tape, x *autograd.Var, in blockInput, e Epilogue) *autograd.Var {
	a := b.attention(t, x, in)
	e.Gamma = b.Gamma1
	out := b.Proj.Forward(t, a, e, in.draw)
	t.Release(a)
	return out
}

// attention returns attention(QKV(Norm1 x)), [rows of x, D], before the projection.
func (b *Block) attention(t *autograd.Tape, x *autograd.Var, in blockInput) *autograd.Var {
	y := b.Norm1.Forward(t, x)
	qkv := b.QKV.Forward(t, y, Epilogue{}, in.draw)
	t.Release(y)
	if in.attn.rope.cos != nil {
		t.RoPE(qkv, in.attn.rope.cos, in.attn.rope.sin, in.attn.index, b.heads)
	}
	scale := 1 / math.Sqrt(float64(qkv.Dim(-1)/3/b.heads))
	if in.probs != nil {
		t.B.AttentionRows(in.probs, in.queries, kernels.Attention{
			QKV: qkv.Value, Seqs: in.attn.seqs, Heads: b.heads, Scale: scale,
		})
	}
	a := t.Attention(qkv, in.attn.seqs, b.heads, scale)
	t.Release(qkv)
	return a
}

// mlp is the MLP branch with its residual epilogue e.
func (b *Block) mlp(t *autograd.Tape, x *autograd.Var, draw Draw, e Epilogue) *autograd.Var {
	y := b.Norm2.Forward(t, x)
	var h *autograd.Var
	switch {
	case b.Gate != nil:
		gate := b.Gate.Forward(t, y, Epilogue{Act: b.act}, draw)
		up := b.FC1.Forward(t, y, Epilogue{}, draw)
		h = t.Mul(gate, up)
		t.Release(gate)
		t.Release(up)
	case b.gated:
		both := b.FC1.Forward(t, y, Epilogue{}, draw)
		h = t.SwiGLU(both)
		t.Release(both)
	default:
		h = b.FC1.Forward(t, y, Epilogue{Act: b.act}, draw)
	}
	t.Release(y)
	e.Gamma = b.Gamma2
	out := b.FC2.Forward(t, h, e, draw)
	t.Release(h)
	return out
}
