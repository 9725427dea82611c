package nn

import (
	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Linear computes x·Wᵀ + b. Several linear layers of a Hugging Face file that read the same input, such as query, key
// and value, are stacked into one Linear and listed as its Parts.
type Linear struct {
	// W is [out, in]. It is nil where the parts have separate memory because at least one of them was stored
	// (Builder.Stored); such a layer is for inference only.
	W *Weight
	B *Weight // [out], or nil
	// Parts are the modules of the file that this layer computes, with their rows of W.
	Parts []Part
	// Adapters are the LoRA adapters, at most one for each part.
	Adapters []*Adapter
}

// Part is one module stacked in a Linear.
type Part struct {
	Name   string // module name in the file, for example "encoder.layer.0.attention.attention.query"
	Lo, Hi int    // rows of W
	weight *Param
	bias   *Param // nil without bias
}

// linearPart describes a part of a Linear that is to be made.
type linearPart struct {
	name string
	out  int
	bias bool
}

// linear makes a stacked linear layer. Where only some parts have a bias, the others' rows of B are zeros that belong
// to no parameter. extra holds the depth and the marks that all parameters of the layer share.
func (m *maker) linear(in int, init Init, extra Param, parts ...linearPart) *Linear {
	l := &Linear{}
	out, bias, apart := 0, false, make([]*tensor.Tensor, len(parts))
	whole := true
	for i, p := range parts {
		out += p.out
		bias = bias || p.bias
		apart[i] = m.stored(p.name + ".weight")
		whole = whole && apart[i] == nil
	}
	if whole {
		l.W = m.weight(out, in)
	}
	if bias {
		l.B = m.weight(out)
		if m.err == nil {
			m.Backend.Fill(l.B.Master, 0)
		}
	}
	lo := 0
	for i, p := range parts {
		part := Part{Name: p.name, Lo: lo, Hi: lo + p.out}
		w := extra
		w.Name, w.Kind, w.Init = p.name+".weight", Matrix, init
		if w.Shape == nil {
			w.Shape = tensor.Shape{p.out, in}
		}
		switch {
		case whole:
			part.weight = m.param(l.W, part.Lo, part.Hi, w)
		case apart[i] != nil:
			part.weight = m.param(m.over(apart[i].Reshape(p.out, in)), 0, p.out, w)
		default:
			part.weight = m.param(m.weight(p.out, in), 0, p.out, w)
		}
		if p.bias {
			b := extra
			b.Name, b.Kind, b.Shape = p.name+".bias", Bias, tensor.Shape{p.out}
			if b.Init.Dist == Constant {
				b.Init = Init{}
			}
			part.bias = m.param(l.B, part.Lo, part.Hi, b)
		}
		l.Parts = append(l.Parts, part)
		lo = part.Hi
	}
	if !whole && len(parts) == 1 && m.err == nil {
		l.W = l.Parts[0].weight.Weight
	}
	return l
}

// In returns the number of inputs.
func (l *Linear) In() int { return l.Parts[0].weight.Weight.Master.Dim(1) }

// rows returns the part's rows of the weight's master copy.
func (p *Part) rows() *tensor.Tensor { return p.weight.Weight.Master.Rows(p.weight.Lo, p.weight.Hi) }

// Epilogue is what a Linear computes after the product; see autograd.Linear.
type Epilogue struct {
	Act      kernels.Activation
	Residual *autograd.Var
	Gamma    *Weight
	RowScale *tensor.Tensor
}

// Forward computes Residual + RowScale·Gamma·Act(x·Wᵀ + b) with the adapters added to the product. draw holds the keys
// of the adapters' dropout; its zero value switches dropout off.
func (l *Linear) Forward(t *autograd.Tape, x *autograd.Var, e Epilogue, draw Draw) *autograd.Var {
	if l.W == nil {
		return l.forwardApart(t, x, e, draw)
	}
	spec := autograd.Linear{X: x, W: l.W.Var, Act: e.Act, Residual: e.Residual, RowScale: e.RowScale}
	if l.B != nil {
		spec.B = l.B.Var
	}
	if e.Gamma != nil {
		spec.Gamma = e.Gamma.Var
	}
	if len(l.Adapters) == 0 {
		return t.Linear(spec)
	}
	spec.Act = kernels.NoActivation
	y := t.Linear(spec)
	for _, a := range l.Adapters {
		a.forward(t, x, y, spec.Gamma, e.RowScale, draw)
	}
	if e.Act == kernels.NoActivation {
		return y
	}
	h := t.Act(y, e.Act)
	t.Release(y)
	return h
}

// forwardApart computes a layer without W: each part is multiplied into its columns of the output. It supports neither
// an epilogue nor a gradient.
func (l *Linear) forwardApart(t *autograd.Tape, x *autograd.Var, e Epilogue, draw Draw) *autograd.Var {
	if e != (Epilogue{}) || t.Recording(x.NeedsGrad()) {
		panic("nn: a layer whose parts lie apart has no epilogue and is not differentiated")
	}
	rows := x.Value.Len() / l.In()
	y := t.New(false, rows, l.Parts[len(l.Parts)-1].Hi)
	for i := range l.Parts {
		p := &l.Parts[i]
		g := kernels.Gemm{M: rows, N: p.Hi - p.Lo, K: l.In(), A: x.Value, B: p.rows(), TransB: true, Out: y.Value, OutCol: p.Lo}
		if l.B != nil {
			g.Bias = l.B.Value.Rows(p.Lo, p.Hi)
		}
		t.B.Gemm(g)
	}
	for _, a := range l.Adapters {
		a.forward(t, x, y, nil, nil, draw)
	}
	return y
}

// LayerNorm normalises the last dimension.
type LayerNorm struct {
	Gain, Shift *Weight // [D]
	Eps         float64
}

func (m *maker) layerNorm(name string, d int, eps float64, depth int) *LayerNorm {
	n := &LayerNorm{Gain: m.weight(d), Shift: m.weight(d), Eps: eps}
	shape := tensor.Shape{d}
	m.whole(n.Gain, Param{Name: name + ".weight", Shape: shape, Kind: NormGain, Depth: depth, Init: Init{Constant, 1}})
	m.whole(n.Shift, Param{Name: name + ".bias", Shape: shape, Kind: NormGain, Depth: depth})
	return n
}

// Forward normalises x [R, D].
func (n *LayerNorm) Forward(t *autograd.Tape, x *autograd.Var) *autograd.Var {
	return t.LayerNorm(x, n.Gain.Var, n.Shift.Var, n.Eps)
}
