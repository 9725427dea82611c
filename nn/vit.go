package nn

import (
	"fmt"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// ViT is a vision transformer of any published family. A ViT belongs to one goroutine at a time.
type ViT struct {
	Config ViTConfig
	Params *Params

	CLS       *Weight // [1, D]
	MaskToken *Weight // [1, D], or nil
	Registers *Weight // [R, D], or nil
	Pos       *Weight // [1+M·M, D] (no first row with NoEmbedClass), or nil with RoPE
	Patch     *Linear // [D, C·P·P]
	Blocks    []*Block
	Norm      *LayerNorm
	Pooler    *Linear // or nil

	backend   kernels.Backend
	dtype     tensor.DType
	layouts   []*Layout
	resamples map[gridKey]*tensor.Tensor
	ropes     map[*Layout]ropeTable
	scratch   scratch
}

// NewViT allocates a model. Its parameters are undefined until Params.Init or a loader writes them.
func (b Builder) NewViT(c ViTConfig) (*ViT, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := &maker{Builder: b, params: b.registry()}
	f, d := c.Family, c.Dim
	v := &ViT{Config: c, Params: m.params, backend: b.Backend, dtype: b.DType}

	token := Init{Normal, 1e-6}
	switch f {
	case FamilyViT:
		token = Init{TruncNormal, 0.02}
	case FamilyDINOv3:
		token = Init{Normal, 0.02}
	}
	v.CLS = m.weight(1, d)
	m.whole(v.CLS, Param{Name: "embeddings.cls_token", Shape: tensor.Shape{1, 1, d}, Kind: Token, Init: token})
	if c.MaskToken {
		v.MaskToken = m.weight(1, d)
		m.whole(v.MaskToken, Param{Name: "embeddings.mask_token", Shape: f.maskShape(d), Kind: Token})
	}
	if c.Registers > 0 || f == FamilyDINOv3 {
		v.Registers = m.weight(c.Registers, d)
		m.whole(v.Registers, Param{
			Name: "embeddings.register_tokens", Shape: tensor.Shape{1, c.Registers, d}, Kind: Token, Init: token,
		})
	}
	if c.RoPE.Theta == 0 {
		rows := c.Grid()*c.Grid() + 1
		if c.NoEmbedClass {
			rows--
		}
		const name = "embeddings.position_embeddings"
		v.Pos = m.matrix(name, rows, d)
		m.whole(v.Pos, Param{
			Name: name, Shape: tensor.Shape{1, rows, d}, Kind: Position,
			Init: Init{TruncNormal, 0.02},
		})
	}
	k := c.Channels * c.PatchSize * c.PatchSize
	v.Patch = m.linear(k, fanIn(k), Param{
		PatchEmbed: true, Shape: tensor.Shape{d, c.Channels, c.PatchSize, c.PatchSize}, Init: fanIn(k),
	}, linearPart{f.patch(), d, true})
	for i := 0; i < c.Depth; i++ {
		v.Blocks = append(v.Blocks, m.block(c, i))
	}
	v.Norm = m.layerNorm(f.finalNorm(), d, c.NormEps, c.Depth+1)
	if c.Pooler {
		v.Pooler = m.linear(d, Init{TruncNormal, 0.02}, Param{Depth: c.Depth + 1}, linearPart{"pooler.dense", d, true})
	}
	if err := m.done(fmt.Sprintf("model (%s, dim %d, depth %d)", f, d, c.Depth)); err != nil {
		return nil, err
	}
	return v, nil
}

// Options selects what a forward pass computes.
type Options struct {
	// Rows lists the rows of the packed matrix that are needed of the result, each once; nil for all. Work that only
	// other rows need is skipped. The listed rows have the same values either way.
	Rows []int32
	// Draw switches drop path, rotary augmentation and adapter dropout on, and holds the keys of their random streams.
	Draw Draw
	// Checkpoint keeps only the input of every block and computes the block again in the backward pass.
	Checkpoint bool
	// Hidden requests the embedding and the output of every block, before the final norm.
	Hidden bool
	// Attention requests attention probabilities.
	Attention *AttentionRequest
}

// AttentionRequest selects the query tokens and the blocks whose attention probabilities are computed.
type AttentionRequest struct {
	Blocks  []int
	Queries []int32 // rows of the packed matrix
}

// Draw holds the keys of a training pass's random streams. The zero value draws nothing, as in evaluation.
type Draw struct {
	Train bool
	Seed  uint64
	Step  uint32
	// Part is the number of this part of a training step. Each part draws its own adapter dropout. Drop path depends
	// on the keys of crops instead, and rotary augmentation is the same for all parts.
	Part uint32
}

// Output is the result of a forward pass.
type Output struct {
	Layout *Layout
	// Tokens is the final norm of the rows in Options.Rows, [len(Rows), D], or of all rows, [T, D].
	Tokens *autograd.Var
	// Hidden holds depth+1 matrices [T, D] if Options.Hidden is set.
	Hidden []*autograd.Var
	// Attention holds [Q, heads, MaxLen] for every block of the request, in its order, in the tape's arena.
	Attention []*tensor.Tensor
}

// Forward runs all groups through the trunk in one packed matrix. l is the layout of the same groups.
func (v *ViT) Forward(t *autograd.Tape, l *Layout, groups []Group, o Options) *Output {
	if !l.matches(groups) {
		panic("nn: Forward with the layout of other groups")
	}
	out := &Output{Layout: l}
	in := v.blockInputs(t, l, groups, o)
	x := v.embed(t, l, groups)
	if o.Hidden {
		out.Hidden = append(out.Hidden, x)
	}
	for i, b := range v.Blocks {
		bi := in.blocks[i]
		if o.Attention != nil {
			for j, at := range o.Attention.Blocks {
				if at == i {
					bi.probs = t.A.New(t.StatType(), len(o.Attention.Queries), v.Config.Heads, l.Seqs.MaxLen)
					bi.queries = in.queries
					if out.Attention == nil {
						out.Attention = make([]*tensor.Tensor, len(o.Attention.Blocks))
					}
					out.Attention[j] = bi.probs
				}
			}
		}
		var y *autograd.Var
		if o.Checkpoint {
			y = t.Checkpoint(x, func(x *autograd.Var) *autograd.Var { return b.forward(t, x, bi) })
		} else {
			y = b.forward(t, x, bi)
		}
		if o.Hidden {
			out.Hidden = append(out.Hidden, y)
		} else {
			t.Release(x)
		}
		x = y
	}
	if in.rows != nil && x.Value.Dim(0) == l.Tokens {
		y := t.Gather(x, *in.rows)
		if !o.Hidden {
			t.Release(x)
		}
		x = y
	}
	out.Tokens = v.Norm.Forward(t, x)
	if !o.Hidden || in.rows != nil {
		t.Release(x)
	}
	return out
}

// Pool returns tanh(dense(cls)) for rows of normalised CLS tokens, the pooler output of vit.
func (v *ViT) Pool(t *autograd.Tape, cls *autograd.Var) *autograd.Var {
	return v.Pooler.Forward(t, cls, Epilogue{Act: kernels.Tanh}, Draw{})
}

// Linears lists every linear layer of the trunk, in order. These are the layers that can have adapters.
func (v *ViT) Linears() []*Linear {
	ls := []*Linear{v.Patch}
	for _, b := range v.Blocks {
		ls = append(ls, b.QKV, b.Proj)
		if b.Gate != nil {
			ls = append(ls, b.Gate)
		}
		ls = append(ls, b.FC1, b.FC2)
	}
	if v.Pooler != nil {
		ls = append(ls, v.Pooler)
	}
	return ls
}
