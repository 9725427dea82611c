package nn

import (
	"fmt"
	"strconv"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// HeadConfig describes a projection head: an MLP, L2 normalisation, and a linear layer of prototypes.
type HeadConfig struct {
	In         int // width of the trunk
	Hidden     int // 2048
	Bottleneck int // 256
	Prototypes int // 65536
	Layers     int // 3; 1 is a single linear layer In → Bottleneck
	// WeightNorm gives the prototypes a gain and a direction (DINO v1 and v2); otherwise the last layer is a
	// plain matrix (v3).
	WeightNorm bool
	// FreezeGain keeps the gain at 1 (norm_last_layer).
	FreezeGain bool
	// Depth is the layer-decay id of the head's parameters: the trunk's depth + 1.
	Depth int
	// Prefix comes before the names of the parameters, for example "dino_head.".
	Prefix string
}

// Head is a DINO or iBOT projection head. Its last layer has no bias, and no layer has batch normalisation.
type Head struct {
	Config HeadConfig
	Params *Params

	MLP       []*Linear
	Direction *Weight // [K, bottleneck]: weight_v, or the plain weight
	Gain      *Weight // [K]: weight_g, or nil without weight norm
}

// normEps is the floor of the row norms in the head's L2 normalisation.
const normEps = 1e-12

// NewHead allocates a head. Its parameters are undefined until Params.Init or a loader writes them.
func (b Builder) NewHead(c HeadConfig) (*Head, error) {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"in", c.In}, {"head_hidden_dim", c.Hidden}, {"head_bottleneck_dim", c.Bottleneck},
		{"head_n_prototypes", c.Prototypes}, {"head_nlayers", c.Layers},
	} {
		if f.value < 1 {
			return nil, fmt.Errorf("head config: %s is %d; it must be at least 1", f.name, f.value)
		}
	}
	m := &maker{Builder: b, params: b.registry()}
	h := &Head{Config: c, Params: m.params}
	width := c.In
	for i := 0; i < c.Layers; i++ {
		out := c.Hidden
		if i == c.Layers-1 {
			out = c.Bottleneck
		}
		name := c.Prefix + "mlp." + strconv.Itoa(2*i)
		if c.Layers == 1 {
			name = c.Prefix + "mlp"
		}
		h.MLP = append(h.MLP, m.linear(width, Init{TruncNormal, 0.02}, Param{Depth: c.Depth}, linearPart{name, out, true}))
		width = out
	}
	last := Param{Depth: c.Depth, LastLayer: true, Kind: Matrix, Shape: tensor.Shape{c.Prototypes, c.Bottleneck}}
	h.Direction = m.weight(c.Prototypes, c.Bottleneck)
	if c.WeightNorm {
		h.Gain = m.weight(c.Prototypes)
		m.whole(h.Gain, Param{
			Name: c.Prefix + "last_layer.weight_g", Shape: tensor.Shape{c.Prototypes, 1}, Kind: Gain,
			Depth: c.Depth, LastLayer: true, Init: Init{Constant, 1}, Frozen: c.FreezeGain,
		})
		last.Name, last.Init = c.Prefix+"last_layer.weight_v", fanIn(c.Bottleneck)
	} else {
		last.Name, last.Init = c.Prefix+"last_layer.weight", Init{TruncNormal, 0.02}
	}
	m.whole(h.Direction, last)
	if err := m.done(fmt.Sprintf("head (%d prototypes)", c.Prototypes)); err != nil {
		return nil, err
	}
	return h, nil
}

// Bottleneck returns the output of the MLP before normalisation, [R, bottleneck].
func (h *Head) Bottleneck(t *autograd.Tape, x *autograd.Var) *autograd.Var {
	in := x
	for i, l := range h.MLP {
		e := Epilogue{Act: kernels.GELU}
		if i == len(h.MLP)-1 {
			e.Act = kernels.NoActivation
		}
		y := l.Forward(t, x, e, Draw{})
		if x != in {
			t.Release(x)
		}
		x = y
	}
	return x
}

// Features returns the normalised bottleneck, [R, bottleneck], the input of the prototype layer.
func (h *Head) Features(t *autograd.Tape, x *autograd.Var) *autograd.Var {
	z := h.Bottleneck(t, x)
	y := t.L2Normalize(z, normEps)
	t.Release(z)
	return y
}

// Prototypes returns the weight [K, bottleneck] of the last layer; logits are features·weightᵀ. With weight norm it is
// computed once in each pass and its gradient goes on to direction and gain. A loss may compute the logits in chunks
// of rows and add each chunk's gradient to Tape.GradBuffer.
func (h *Head) Prototypes(t *autograd.Tape) *autograd.Var {
	if h.Gain == nil {
		return t.Slice(h.Direction.Var, 0, h.Config.Prototypes)
	}
	return t.WeightNorm(h.Direction.Var, h.Gain.Var)
}

// Forward returns the logits [R, K].
func (h *Head) Forward(t *autograd.Tape, x *autograd.Var) *autograd.Var {
	f, w := h.Features(t, x), h.Prototypes(t)
	y := t.Linear(autograd.Linear{X: f, W: w})
	t.Release(f)
	t.Release(w)
	return y
}
