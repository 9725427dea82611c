package nn_test

import (
	"fmt"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

var oracle = nn.Builder{Backend: ref.New(), DType: tensor.F64, Train: true}

// families are micro models, one for every path through the code.
func families() map[string]nn.ViTConfig {
	base := nn.ViTConfig{
		Channels: 2, PatchSize: 2, ImageSize: 6, Dim: 8, Depth: 2, Heads: 2, MLPDim: 12, Act: kernels.GELU, NormEps: 1e-6,
		QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true, MaskToken: true,
	}
	m := map[string]nn.ViTConfig{}
	c := base
	c.Family, c.MaskToken, c.Pooler, c.Interpolation = nn.FamilyViT, false, true, nn.InterpolateOffset
	m["vit"] = c
	c = base
	c.Family, c.LayerScale, c.LayerScaleInit = nn.FamilyDINOv2, true, 0.5
	m["dinov2"] = c
	c.Gated, c.Act = true, kernels.SiLU
	m["dinov2 gated"] = c
	c = base
	c.Family, c.LayerScale, c.LayerScaleInit, c.Registers, c.Interpolation = nn.FamilyDINOv2Registers, true, 0.5, 3, nn.InterpolateAntialias
	m["dinov2 with registers"] = c
	c.NoEmbedClass = true
	m["no embed class"] = c
	c = base
	c.Family, c.LayerScale, c.LayerScaleInit, c.Registers, c.KeyBias = nn.FamilyDINOv3, true, 0.5, 2, false
	c.RoPE.Theta = 100
	m["dinov3"] = c
	c.Gated, c.QueryBias, c.ValueBias, c.Registers = true, false, false, 0
	m["dinov3 gated GELU"] = c
	c.Act = kernels.SiLU
	m["dinov3 gated"] = c
	c = base
	c.ProjBias, c.MLPBias = false, false
	m["no bias"] = c
	return m
}

// newModel makes a model with lively parameters: the usual initial values leave some gradients near zero.
func newModel(t *testing.T, b nn.Builder, c nn.ViTConfig) *nn.ViT {
	t.Helper()
	v, err := b.NewViT(c)
	if err != nil {
		t.Fatal(err)
	}
	liven(b, v.Params)
	return v
}

func liven(b nn.Builder, ps *nn.Params) {
	for i, p := range ps.All() {
		r := tensor.NewRand(3, uint32(i), 0, 1<<26)
		x := p.Value()
		offset, scale := 0.0, 0.4
		if p.Kind == nn.NormGain || p.Kind == nn.Gamma || p.Kind == nn.Gain {
			offset, scale = 1, 0.2
		}
		for j := 0; j < x.Len(); j++ {
			x.Set(j, offset+scale*r.Norm())
		}
	}
	ps.Sync(b.Backend)
}

// images draws a group of crops.
func images(seed uint32, shape ...int) nn.Group {
	x := tensor.Zeros(tensor.F32, shape...)
	r := tensor.NewRand(5, seed, 0, 1<<26)
	for i := range x.F32() {
		x.F32()[i] = float32(r.Norm())
	}
	return nn.Group{Images: x}
}

// crops are two groups of different size, the first at the trained size.
func crops(c nn.ViTConfig) []nn.Group {
	g := []nn.Group{images(1, 2, c.Channels, 6, 6), images(2, 3, c.Channels, 4, 8)}
	if c.MaskToken {
		g[0].Mask = make([]bool, 2*9)
		g[0].Mask[1], g[0].Mask[5], g[0].Mask[12] = true, true, true
	}
	return g
}

func layout(t *testing.T, v *nn.ViT, groups []nn.Group) *nn.Layout {
	t.Helper()
	l, err := v.Layout(groups)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func values(x *tensor.Tensor) []float64 {
	out := make([]float64, x.Len())
	for i := range out {
		out[i] = x.At(i)
	}
	return out
}

func name(parts ...any) string { return fmt.Sprint(parts...) }

func fromF64(x []float64, shape ...int) *tensor.Tensor {
	return tensor.FromF64(append([]float64(nil), x...), shape...)
}
