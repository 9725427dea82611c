package nn_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// onPaper hands out buffers without memory: shapes and counts need none.
type onPaper struct{}

func (onPaper) Device() tensor.Device { return tensor.Device{} }
func (onPaper) Alloc(n int) (*tensor.Buffer, error) {
	return &tensor.Buffer{Size: n}, nil
}
func (onPaper) Free(*tensor.Buffer) {}

// paperBackend is the oracle over memory that is not there; building a model fills only rows nobody names.
type paperBackend struct{ *ref.Backend }

func (paperBackend) Allocator() tensor.Allocator  { return onPaper{} }
func (paperBackend) Fill(*tensor.Tensor, float64) {}

var paper = nn.Builder{Backend: paperBackend{ref.New()}, DType: tensor.F32}

func size(f nn.Family, dim, depth, heads int) nn.ViTConfig {
	c := nn.ViTConfig{
		Family: f, Channels: 3, PatchSize: 16, ImageSize: 224, Dim: dim, Depth: depth, Heads: heads, MLPDim: 4 * dim,
		Act: kernels.GELU, NormEps: 1e-6, QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true,
	}
	switch f {
	case nn.FamilyDINOv2, nn.FamilyDINOv2Registers:
		c.PatchSize, c.ImageSize, c.LayerScale, c.MaskToken = 14, 518, true, true
	case nn.FamilyDINOv3:
		c.LayerScale, c.MaskToken, c.KeyBias, c.Registers, c.RoPE.Theta = true, true, false, 4, 100
	}
	if f == nn.FamilyDINOv2Registers {
		c.Registers = 4
	}
	return c
}

func gated(c nn.ViTConfig, hidden int) nn.ViTConfig {
	c.Gated, c.Act, c.MLPDim = true, kernels.SiLU, hidden
	return c
}

func patch(c nn.ViTConfig, p, image int) nn.ViTConfig { c.PatchSize, c.ImageSize = p, image; return c }

func noQKVBias(c nn.ViTConfig) nn.ViTConfig { c.QueryBias, c.ValueBias = false, false; return c }

// Parameter and tensor counts of the published models.
func TestParameterCounts(t *testing.T) {
	v1, v2, reg, v3 := nn.FamilyViT, nn.FamilyDINOv2, nn.FamilyDINOv2Registers, nn.FamilyDINOv3
	cases := []struct {
		name            string
		c               nn.ViTConfig
		params, tensors int
	}{
		{"dino-vits16", size(v1, 384, 12, 6), 21_665_664, 198},
		{"dino-vits8", patch(size(v1, 384, 12, 6), 8, 224), 21_670_272, 198},
		{"dino-vitb16", size(v1, 768, 12, 12), 85_798_656, 198},
		{"dino-vitb8", patch(size(v1, 768, 12, 12), 8, 224), 85_807_872, 198},
		{"dinov2-small", size(v2, 384, 12, 6), 22_056_576, 223},
		{"dinov2-base", size(v2, 768, 12, 12), 86_580_480, 223},
		{"dinov2-large", size(v2, 1024, 24, 16), 304_368_640, 7 + 18*24},
		{"dinov2-giant", gated(size(v2, 1536, 40, 24), 4096), 1_136_480_768, 7 + 18*40},
		{"dinov2-with-registers-small", size(reg, 384, 12, 6), 22_058_112, 224},
		{"dinov2-with-registers-giant", gated(size(reg, 1536, 40, 24), 4096), 1_136_486_912, 8 + 18*40},
		{"dinov3-vits16", size(v3, 384, 12, 6), 21_596_544, 7 + 17*12},
		{"dinov3-vits16plus", gated(size(v3, 384, 12, 6), 1536), 28_692_864, 7 + 19*12},
		{"dinov3-vitb16", size(v3, 768, 12, 12), 85_660_416, 7 + 17*12},
		{"dinov3-vitl16", size(v3, 1024, 24, 16), 303_129_600, 7 + 17*24},
		{"dinov3-vith16plus", gated(size(v3, 1280, 32, 20), 5120), 840_592_640, 7 + 19*32},
		{"dinov3-vit7b16", noQKVBias(gated(size(v3, 4096, 40, 32), 8192)), 6_716_035_072, 7 + 17*40},
		// The published pathology models have no mask token: D fewer parameters, one tensor fewer.
		{"UNI", patch(size(v2, 1024, 24, 16), 16, 224), 303_350_784 + 1024, 7 + 18*24},
		{"prov-gigapath", gated(patch(size(v2, 1536, 40, 24), 16, 224), 4096), 1_134_953_984 + 1536, 7 + 18*40},
	}
	for _, c := range cases {
		v, err := paper.NewViT(c.c)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := v.Params.Count(); got != c.params {
			t.Errorf("%s: %d parameters, want %d", c.name, got, c.params)
		}
		if got := len(v.Params.All()); got != c.tensors {
			t.Errorf("%s: %d tensors, want %d", c.name, got, c.tensors)
		}
	}
}

// A model that does not fit reports what it was making.
func TestOutOfMemoryIsAnError(t *testing.T) {
	b := paper
	b.Backend = fullBackend{}
	_, err := b.NewViT(size(nn.FamilyViT, 384, 12, 6))
	if !errors.Is(err, errFull) {
		t.Errorf("error is %v, want the allocator's", err)
	}
}

var errFull = errors.New("full")

type full struct{ onPaper }

func (full) Alloc(int) (*tensor.Buffer, error) { return nil, errFull }

type fullBackend struct{ paperBackend }

func (fullBackend) Allocator() tensor.Allocator { return full{} }

func TestConfigErrorsNameTheField(t *testing.T) {
	good := size(nn.FamilyDINOv3, 384, 12, 6)
	for field, breakIt := range map[string]func(*nn.ViTConfig){
		"num_channels":        func(c *nn.ViTConfig) { c.Channels = 0 },
		"patch_size":          func(c *nn.ViTConfig) { c.PatchSize = 0 },
		"hidden_size":         func(c *nn.ViTConfig) { c.Dim = 385 },
		"num_hidden_layers":   func(c *nn.ViTConfig) { c.Depth = 0 },
		"intermediate_size":   func(c *nn.ViTConfig) { c.MLPDim = 0 },
		"layer_norm_eps":      func(c *nn.ViTConfig) { c.NormEps = 0 },
		"num_register_tokens": func(c *nn.ViTConfig) { c.Registers = -1 },
		"rope periods":        func(c *nn.ViTConfig) { c.RoPE.Periods = []float64{1} },
		"drop_path_rate":      func(c *nn.ViTConfig) { c.DropPath.Rate = 1 },
		"pooler":              func(c *nn.ViTConfig) { c.Pooler = true },
	} {
		c := good
		breakIt(&c)
		err := c.Validate()
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v does not name it", field, err)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}
