package hf

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dino-mx/dmx/nn"
)

// TimmConfig is what a timm config.json says. Sizes that it leaves open are 0; the tensors decide them.
type TimmConfig struct {
	Architecture string
	DINOv3       bool
	Heads        int
	Dim          int
	PatchSize    int
	ImageSize    int
	Pretrained   map[string]json.RawMessage // pretrained_cfg
}

var timmName = regexp.MustCompile(`^vit_(tiny|small|medium|base|large|huge|giant|gigantic|7b|small_plus|huge_plus)_patch(\d+)(?:_reg(\d+))?(?:_(dinov2|dinov3|dinov3_qkvb|\d+))?(?:\.[\w.-]+)?$`)

var timmSizes = map[string]struct{ dim, heads int }{
	"tiny": {192, 3}, "small": {384, 6}, "small_plus": {384, 6}, "medium": {512, 8}, "base": {768, 12}, "large": {1024, 16},
	"huge": {1280, 16}, "huge_plus": {1280, 20}, "giant": {1408, 16}, "gigantic": {1664, 16}, "7b": {4096, 32},
}

// parseTimm reads a timm config: architecture, model_args and pretrained_cfg (or, in old files, its members at the
// top level).
func parseTimm(f *fields) *Config {
	t := &TimmConfig{Architecture: f.str("architecture", "")}
	c := &Config{Timm: t, Extra: f.m}
	m := timmName.FindStringSubmatch(t.Architecture)
	if m == nil {
		f.fail("architecture", t.Architecture, "a plain timm vision transformer with a class token, such as vit_large_patch16_224 or vit_base_patch14_reg4_dinov2")
		return c
	}
	size := timmSizes[m[1]]
	t.Dim, t.Heads = size.dim, size.heads
	if m[1] == "giant" && m[4] == "dinov2" {
		t.Dim, t.Heads = 1536, 24
	}
	t.DINOv3 = strings.HasPrefix(m[4], "dinov3")
	t.PatchSize, _ = strconv.Atoi(m[2])
	t.ImageSize = 224
	switch n, err := strconv.Atoi(m[4]); {
	case err == nil:
		t.ImageSize = n
	case m[4] == "dinov2":
		t.ImageSize = 518
	case t.DINOv3:
		t.ImageSize = 256
	}
	if args := f.object("model_args"); args != nil {
		t.Dim = args.integer("embed_dim", t.Dim, 1, maxDim)
		t.Heads = args.integer("num_heads", t.Heads, 1, maxDim)
		t.PatchSize = args.integer("patch_size", t.PatchSize, 1, maxPixels)
		t.ImageSize = args.side("img_size", t.ImageSize, 1, maxPixels)
		for _, key := range []string{"depth", "mlp_ratio", "init_values", "reg_tokens", "no_embed_class", "in_chans", "qkv_bias",
			"num_classes", "global_pool", "dynamic_img_size", "drop_path_rate", "drop_rate", "img_size", "patch_size",
			"embed_dim", "num_heads", "mlp_layer", "act_layer", "fc_norm", "class_token"} {
			if key == "class_token" && !args.boolean(key, true) {
				args.fail(key, false, "true: a model without a CLS token is not supported")
			}
			delete(args.m, key)
		}
		for _, key := range slices.Sorted(keysOf(args.m)) {
			args.fail(key, shorten(args.m[key]), "left out: this model_args member is not understood")
		}
		if f.err == nil && args.err != nil {
			f.err = fmt.Errorf("model_args: %w", args.err)
		}
	}
	pre := f.object("pretrained_cfg")
	if pre == nil {
		pre = f
	}
	t.Pretrained = pre.m
	if raw, ok := pre.get("input_size"); ok && f.m["model_args"] == nil {
		var in []int
		if json.Unmarshal(raw, &in) != nil || len(in) != 3 || in[1] != in[2] || in[1] < 1 || in[1] > maxPixels {
			f.fail("input_size", shorten(raw), "[channels, side, side]")
		} else if m[4] == "" || m[4] == "dinov2" || t.DINOv3 {
			t.ImageSize = in[1]
		}
	}
	if f.err == nil && t.Dim%t.Heads != 0 {
		f.fail("num_heads", t.Heads, fmt.Sprintf("a divisor of embed_dim, which is %d", t.Dim))
	}
	return c
}

// complete joins what a timm config says with what the tensors show.
func (t *TimmConfig) complete(v *nn.ViTConfig) error {
	if v.Dim != t.Dim {
		return fmt.Errorf("%w: architecture %s has %d channels, the weights have %d", ErrConfig, t.Architecture, t.Dim, v.Dim)
	}
	if v.PatchSize != t.PatchSize {
		return fmt.Errorf("%w: architecture %s with its arguments has patch size %d, the weights have %d", ErrConfig, t.Architecture, t.PatchSize, v.PatchSize)
	}
	v.Heads = t.Heads
	return nil
}

// Processor turns pretrained_cfg into the image processor timm would build: resize the short side, or with the crop
// mode squash both sides, to floor(size/crop_pct), centre crop, normalise.
func (t *TimmConfig) Processor() (*Processor, error) {
	f := &fields{m: t.Pretrained}
	p := &Processor{Kind: BitProcessor, Resize: true, CenterCrop: true, Rescale: true, RescaleFactor: 1.0 / 255, Normalize: true, ConvertRGB: true}
	p.RoundCrop, p.File = true, ConfigFile
	side := t.ImageSize
	if raw, ok := f.get("input_size"); ok {
		var in []int
		if json.Unmarshal(raw, &in) != nil || len(in) != 3 || in[1] != in[2] || in[1] < 1 || in[1] > maxPixels {
			f.fail("input_size", shorten(raw), "[channels, side, side]: only square sizes are supported")
		} else {
			side = in[1]
		}
	}
	crop := f.number("crop_pct", 0)
	if crop == 0 {
		crop = 0.875
	}
	if crop < 0.01 || crop > 100 {
		f.fail("crop_pct", crop, "above 0, such as 0.9")
		crop = 1
	}
	switch mode := f.str("interpolation", "bicubic"); mode {
	case "bicubic":
		p.Resample = Bicubic
	case "bilinear":
		p.Resample = Bilinear
	case "nearest":
		p.Resample = Nearest
	case "lanczos":
		p.Resample = Lanczos
	default:
		f.fail("interpolation", mode, "bicubic, bilinear, lanczos or nearest")
	}
	resized := max(1, int(math.Floor(float64(side)/crop)))
	p.Size = Size{ShortestEdge: resized}
	switch mode := f.str("crop_mode", "center"); mode {
	case "center":
	case "squash":
		p.Size = Size{Height: resized, Width: resized}
	default:
		f.fail("crop_mode", mode, "center or squash")
	}
	p.Crop = Size{Height: side, Width: side}
	p.Mean, p.Std = f.floats("mean"), f.floats("std")
	if p.Mean == nil {
		p.Mean = slices.Clone(ImageNetMean)
	}
	if p.Std == nil {
		p.Std = slices.Clone(ImageNetStd)
	}
	p.spread(max(len(p.Mean), len(p.Std)))
	if f.err != nil {
		return nil, fmt.Errorf("%w: pretrained_cfg: %w", ErrConfig, f.err)
	}
	return p, p.validate()
}
