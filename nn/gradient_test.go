package nn_test

import (
	"testing"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/autograd/gradcheck"
	"github.com/dino-mx/dmx/nn"
)

// weights lists the distinct trained weights of a registry.
func weights(ps *nn.Params) []gradcheck.Named {
	var out []gradcheck.Named
	seen := map[*nn.Weight]bool{}
	for _, p := range ps.All() {
		if p.Frozen || seen[p.Weight] || p.Shape.Len() == 0 {
			continue
		}
		seen[p.Weight] = true
		out = append(out, gradcheck.Named{Name: p.Name, Var: p.Weight.Var})
	}
	return out
}

// Every parameter of a whole model of every family, with masks, mixed crop sizes, drop path and augmented rotary
// positions, against finite differences.
func TestModelGradients(t *testing.T) {
	for name, c := range families() {
		t.Run(name, func(t *testing.T) {
			c.DropPath = nn.DropPathConfig{Rate: 0.4}
			if c.RoPE.Theta > 0 {
				c.RoPE.Shift, c.RoPE.Jitter, c.RoPE.Rescale, c.RoPE.PerBlock = 0.1, 1.2, 2, c.Gated
			}
			v := newModel(t, oracle, c)
			groups := crops(c)
			l := layout(t, v, groups)
			rows := l.MaskedRows(append([]int32(nil), l.CLSRows()...), 0, groups[0].Mask)
			worst, err := gradcheck.Run(oracle.Backend, weights(withoutPooler(v)), gradcheck.Options{Elements: 4},
				func(t *autograd.Tape) []*autograd.Var {
					o := v.Forward(t, l, groups, nn.Options{Rows: rows, Draw: nn.Draw{Train: true, Seed: 2, Step: 3}})
					return []*autograd.Var{o.Tokens}
				})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("worst relative error %.1g", worst)
		})
	}
}

// withoutPooler freezes the pooler, which the tokens do not depend on.
func withoutPooler(v *nn.ViT) *nn.Params {
	v.Params.Freeze(nn.NamePrefix("pooler."))
	return v.Params
}

func TestSubsetDropPathGradients(t *testing.T) {
	for _, name := range []string{"dinov2", "dinov3"} {
		t.Run(name, func(t *testing.T) {
			c := families()[name]
			c.DropPath = nn.DropPathConfig{Rate: 0.5, Subset: true}
			v := newModel(t, oracle, c)
			groups := crops(c)
			l := layout(t, v, groups)
			_, err := gradcheck.Run(oracle.Backend, weights(v.Params), gradcheck.Options{Elements: 4},
				func(t *autograd.Tape) []*autograd.Var {
					o := v.Forward(t, l, groups, nn.Options{Rows: l.CLSRows(), Draw: nn.Draw{Train: true, Seed: 2, Step: 3}})
					return []*autograd.Var{o.Tokens}
				})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestPoolerGradients(t *testing.T) {
	v := newModel(t, oracle, families()["vit"])
	groups := crops(v.Config)
	l := layout(t, v, groups)
	_, err := gradcheck.Run(oracle.Backend, weights(v.Params), gradcheck.Options{Elements: 2},
		func(t *autograd.Tape) []*autograd.Var {
			o := v.Forward(t, l, groups, nn.Options{Rows: l.CLSRows()})
			y := v.Pool(t, o.Tokens)
			// The pooler's gradient goes through its activation, so a linear layer reads it.
			return []*autograd.Var{v.Blocks[0].Proj.Forward(t, y, nn.Epilogue{}, nn.Draw{})}
		})
	if err != nil {
		t.Fatal(err)
	}
}

// Head, hidden states and adapters on every layer in one graph.
func TestHeadGradients(t *testing.T) {
	for _, c := range []nn.HeadConfig{
		{In: 6, Hidden: 10, Bottleneck: 4, Prototypes: 9, Layers: 3, WeightNorm: true},
		{In: 6, Hidden: 10, Bottleneck: 4, Prototypes: 9, Layers: 3, WeightNorm: true, FreezeGain: true},
		{In: 6, Hidden: 10, Bottleneck: 4, Prototypes: 9, Layers: 2},
		{In: 6, Hidden: 10, Bottleneck: 4, Prototypes: 9, Layers: 1},
	} {
		h, err := oracle.NewHead(c)
		if err != nil {
			t.Fatal(err)
		}
		liven(oracle, h.Params)
		x := images(3, 5, 6).Images
		in := make([]float64, x.Len())
		for i := range in {
			in[i] = float64(x.F32()[i])
		}
		_, err = gradcheck.Run(oracle.Backend, weights(h.Params), gradcheck.Options{},
			func(t *autograd.Tape) []*autograd.Var {
				v := t.Const(fromF64(in, 5, 6))
				return []*autograd.Var{h.Features(t, v), h.Forward(t, v)}
			})
		if err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestLoRAGradients(t *testing.T) {
	for name, c := range families() {
		t.Run(name, func(t *testing.T) {
			c.DropPath = nn.DropPathConfig{Rate: 0.4}
			v := newModel(t, oracle, c)
			withoutPooler(v)
			_, err := oracle.AddLoRA(v, nn.LoRAConfig{
				Rank: 2, Alpha: 3, Dropout: 0.25, Bias: nn.LoRABiasAll, Pattern: `(embeddings|encoder|layer)\..*`,
			})
			if err != nil {
				t.Fatal(err)
			}
			liven(oracle, v.Params)
			v.Params.Freeze(nn.NamePrefix("pooler."))
			groups := crops(c)
			l := layout(t, v, groups)
			worst, err := gradcheck.Run(oracle.Backend, weights(v.Params), gradcheck.Options{Elements: 2},
				func(t *autograd.Tape) []*autograd.Var {
					o := v.Forward(t, l, groups, nn.Options{Rows: l.CLSRows(), Draw: nn.Draw{Train: true, Seed: 2, Step: 3}})
					return []*autograd.Var{o.Tokens}
				})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("worst relative error %.1g", worst)
		})
	}
}
