package nn_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// moments are mean, standard deviation and largest absolute value.
func moments(x []float64) (mean, std, top float64) {
	for _, v := range x {
		mean += v
		top = max(top, math.Abs(v))
	}
	mean /= float64(len(x))
	for _, v := range x {
		std += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(std / float64(len(x))), top
}

// Initial values have the distributions of the reference implementations.
func TestInitialValues(t *testing.T) {
	b := nn.Builder{Backend: ref.New(), DType: tensor.F32}
	small := func(f nn.Family) nn.ViTConfig {
		c := size(f, 96, 1, 2)
		c.LayerScaleInit = 1e-5
		return c
	}
	type want struct{ mean, std, limit float64 } // limit on the largest value, 0 for none
	bound := 1 / math.Sqrt(3*16*16)
	cases := []struct {
		family nn.Family
		values map[string]want
	}{
		{nn.FamilyViT, map[string]want{
			"embeddings.cls_token":                             {0, 0.02, 2},
			"embeddings.position_embeddings":                   {0, 0.02, 2},
			"embeddings.patch_embeddings.projection.weight":    {0, bound / math.Sqrt(3), bound},
			"embeddings.patch_embeddings.projection.bias":      {0, bound / math.Sqrt(3), bound},
			"encoder.layer.0.attention.attention.query.weight": {0, 0.02, 2},
			"encoder.layer.0.attention.attention.query.bias":   {0, 0, 0},
			"encoder.layer.0.layernorm_before.weight":          {1, 0, 1},
			"encoder.layer.0.output.dense.weight":              {0, 0.02, 2},
		}},
		{nn.FamilyDINOv2Registers, map[string]want{
			"embeddings.cls_token":                 {0, 1e-6, 1e-5},
			"embeddings.register_tokens":           {0, 1e-6, 1e-5},
			"embeddings.mask_token":                {0, 0, 0},
			"encoder.layer.0.layer_scale1.lambda1": {1e-5, 0, 1e-5},
		}},
		{nn.FamilyDINOv3, map[string]want{
			"embeddings.cls_token":       {0, 0.02, 2},
			"embeddings.register_tokens": {0, 0.02, 2},
		}},
	}
	for _, c := range cases {
		v, err := b.NewViT(small(c.family))
		if err != nil {
			t.Fatal(err)
		}
		v.Params.Init(b.Backend, 3, nil)
		for name, w := range c.values {
			p := v.Params.ByName(name)
			if p == nil {
				t.Fatalf("%s has no %s", c.family, name)
			}
			x := values(p.Value())
			mean, std, top := moments(x)
			n := math.Sqrt(float64(len(x)))
			if math.Abs(mean-w.mean) > 5*w.std/n+1e-12 || math.Abs(std-w.std) > 5*w.std/n+1e-12 {
				t.Errorf("%s %s: mean %g, deviation %g; want %g, %g", c.family, name, mean, std, w.mean, w.std)
			}
			if top > w.limit*(1+1e-6) {
				t.Errorf("%s %s: a value of %g is beyond %g", c.family, name, top, w.limit)
			}
		}
	}
}

// Values depend on seed and name alone: not on which other parameters there are or which are drawn.
func TestInitDependsOnSeedAndName(t *testing.T) {
	b := nn.Builder{Backend: ref.New(), DType: tensor.F32}
	const name = "encoder.layer.0.mlp.fc1.weight"
	draw := func(depth int, seed uint64, match func(*nn.Param) bool) []float64 {
		c := size(nn.FamilyDINOv2, 16, depth, 2)
		c.PatchSize, c.ImageSize = 2, 4
		v, err := b.NewViT(c)
		if err != nil {
			t.Fatal(err)
		}
		v.Params.Init(b.Backend, seed, match)
		return values(v.Params.ByName(name).Value())
	}
	first := draw(1, 7, nil)
	if diff := cmp.Diff(first, draw(2, 7, func(p *nn.Param) bool { return p.Name == name })); diff != "" {
		t.Errorf("another model, this parameter alone:\n%s", diff)
	}
	if cmp.Equal(first, draw(1, 8, nil)) {
		t.Error("two seeds give the same values")
	}
}

// The heads of DINO v1/v2 and v3 start as their references do.
func TestHeadInitialValues(t *testing.T) {
	b := nn.Builder{Backend: ref.New(), DType: tensor.F32}
	for _, wn := range []bool{true, false} {
		h, err := b.NewHead(nn.HeadConfig{In: 32, Hidden: 64, Bottleneck: 16, Prototypes: 300, Layers: 3, WeightNorm: wn, Prefix: "dino_head."})
		if err != nil {
			t.Fatal(err)
		}
		h.Params.Init(b.Backend, 1, nil)
		name, std := "dino_head.last_layer.weight", 0.02
		if wn {
			name, std = "dino_head.last_layer.weight_v", 1/math.Sqrt(16*3)
			if _, dev, top := moments(values(h.Params.ByName("dino_head.last_layer.weight_g").Value())); dev != 0 || top != 1 {
				t.Error("gains do not start at 1")
			}
		}
		if _, got, _ := moments(values(h.Params.ByName(name).Value())); math.Abs(got-std) > 0.03*std {
			t.Errorf("%s: deviation %g, want %g", name, got, std)
		}
		if _, got, _ := moments(values(h.Params.ByName("dino_head.mlp.2.weight").Value())); math.Abs(got-0.02) > 0.001 {
			t.Errorf("mlp weights have deviation %g, want 0.02", got)
		}
	}
}

// A bf16 model computes with rounded matrices and keeps f32 masters, vectors and gradients.
func TestBF16Storage(t *testing.T) {
	b := nn.Builder{Backend: ref.New(), DType: tensor.BF16, Train: true}
	c := size(nn.FamilyDINOv2, 16, 1, 2)
	c.PatchSize, c.ImageSize = 2, 4
	v, err := b.NewViT(c)
	if err != nil {
		t.Fatal(err)
	}
	v.Params.Init(b.Backend, 3, nil)
	for _, p := range v.Params.All() {
		compute := tensor.BF16
		if p.Weight.Master.Shape().Len() == p.Weight.Master.Dim(0) {
			compute = tensor.F32
		}
		if p.Value().DType() != tensor.F32 || p.Grad().DType() != tensor.F32 || p.Compute().DType() != compute {
			t.Errorf("%s: master %s, gradient %s, compute %s", p.Name, p.Value().DType(), p.Grad().DType(), p.Compute().DType())
		}
		for i := 0; i < p.Shape.Len(); i++ {
			want := p.Value().At(i)
			if compute == tensor.BF16 {
				want = float64(tensor.FromBF16(tensor.ToBF16(float32(want))))
			}
			if got := p.Compute().At(i); got != want {
				t.Fatalf("%s: element %d computes as %g, master %g", p.Name, i, got, p.Value().At(i))
			}
		}
	}
}
