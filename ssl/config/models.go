package config

import "strings"

// families are the train.model_type values whose shape the model section gives.
var families = []string{"vit", "dinov2", "dinov2_with_registers", "dinov3_vit"}

// size is one row of a family's table.
type size struct {
	name                 string
	width, depth, heads  int
	patch, registers     int
	mlpRatio             float64
	swiglu, withoutBiasQ bool
}

var dinov2Sizes = []size{
	{name: "small", width: 384, depth: 12, heads: 6, patch: 14, mlpRatio: 4},
	{name: "base", width: 768, depth: 12, heads: 12, patch: 14, mlpRatio: 4},
	{name: "large", width: 1024, depth: 24, heads: 16, patch: 14, mlpRatio: 4},
	{name: "giant", width: 1536, depth: 40, heads: 24, patch: 14, mlpRatio: 4, swiglu: true},
}

var dinoSizes = []size{
	{name: "vits16", width: 384, depth: 12, heads: 6, patch: 16, mlpRatio: 4},
	{name: "vits8", width: 384, depth: 12, heads: 6, patch: 8, mlpRatio: 4},
	{name: "vitb16", width: 768, depth: 12, heads: 12, patch: 16, mlpRatio: 4},
	{name: "vitb8", width: 768, depth: 12, heads: 12, patch: 8, mlpRatio: 4},
}

var dinov3Sizes = []size{
	{name: "vits16", width: 384, depth: 12, heads: 6, patch: 16, registers: 4, mlpRatio: 4},
	{name: "vits16plus", width: 384, depth: 12, heads: 6, patch: 16, registers: 4, mlpRatio: 4, swiglu: true},
	{name: "vitb16", width: 768, depth: 12, heads: 12, patch: 16, registers: 4, mlpRatio: 4},
	{name: "vitl16", width: 1024, depth: 24, heads: 16, patch: 16, registers: 4, mlpRatio: 4},
	{name: "vith16plus", width: 1280, depth: 32, heads: 20, patch: 16, registers: 4, mlpRatio: 4, swiglu: true},
	{name: "vit7b16", width: 4096, depth: 40, heads: 32, patch: 16, registers: 4, mlpRatio: 2, swiglu: true, withoutBiasQ: true},
}

// KnownModels lists the values of train.model_type that bring a shape of their own.
func KnownModels() []string {
	var ids []string
	for _, s := range dinoSizes {
		ids = append(ids, "facebook/dino-"+s.name)
	}
	for _, s := range dinov2Sizes {
		ids = append(ids, "facebook/dinov2-"+s.name)
	}
	for _, s := range dinov2Sizes {
		ids = append(ids, "facebook/dinov2-with-registers-"+s.name)
	}
	for _, s := range dinov3Sizes {
		ids = append(ids, "facebook/dinov3-"+s.name+"-pretrain-lvd1689m")
	}
	return append(ids, "CardViT-base", "CardViT-large")
}

// knownModel returns the family and the shape of a model type, and whether it is known.
func knownModel(id string) (family string, m Model, ok bool) {
	find := func(sizes []size, name string) (size, bool) {
		for _, s := range sizes {
			if s.name == name {
				return s, true
			}
		}
		return size{}, false
	}
	var s size
	name, _ := strings.CutPrefix(id, "facebook/")
	if name == id {
		name = ""
	}
	switch {
	case id == "vit", id == "dinov2", id == "dinov2_with_registers", id == "dinov3_vit":
		family, ok = id, true
		s = size{width: 768, depth: 12, heads: 12, patch: 14, mlpRatio: 4}
		if id == "vit" || id == "dinov3_vit" {
			s.patch = 16
		}
	case id == "CardViT-base", id == "CardViT-large":
		family = "dinov2_with_registers"
		s, ok = find(dinov2Sizes, strings.TrimPrefix(id, "CardViT-"))
	case strings.HasPrefix(name, "dinov3-"):
		family = "dinov3_vit"
		s, ok = find(dinov3Sizes, strings.TrimSuffix(strings.TrimPrefix(name, "dinov3-"), "-pretrain-lvd1689m"))
	case strings.HasPrefix(name, "dinov2-with-registers-"):
		family = "dinov2_with_registers"
		s, ok = find(dinov2Sizes, strings.TrimPrefix(name, "dinov2-with-registers-"))
	case strings.HasPrefix(name, "dinov2-"):
		family = "dinov2"
		s, ok = find(dinov2Sizes, strings.TrimPrefix(name, "dinov2-"))
	case strings.HasPrefix(name, "dino-"):
		family = "vit"
		s, ok = find(dinoSizes, strings.TrimPrefix(name, "dino-"))
	}
	if !ok {
		return "", Model{}, false
	}
	m = Model{
		HiddenSize: s.width, NumHiddenLayers: s.depth, NumAttentionHeads: s.heads, MLPRatio: s.mlpRatio,
		PatchSize: s.patch, ImageSize: 224, NumChannels: 3, NumRegisterTokens: s.registers, LayerNormEps: 1e-6,
		LayerScaleValue: 1, QKVBias: !s.withoutBiasQ, KeyBias: true, UseSwiGLUFFN: s.swiglu,
	}
	switch family {
	case "vit":
		m.LayerScaleValue = 0
	case "dinov2":
		m.ImageSize = 518
	case "dinov2_with_registers":
		m.ImageSize, m.NumRegisterTokens = 518, 4
	case "dinov3_vit":
		m.LayerNormEps, m.RopeTheta, m.PosEmbedRescale, m.KeyBias = 1e-5, 100, 2, false
	}
	if family == id {
		m.ImageSize = 224
	}
	if strings.HasPrefix(id, "CardViT-") {
		m.NumChannels = 1
	}
	return family, m, true
}

// Family returns the Hugging Face model_type of the backbone: vit, dinov2, dinov2_with_registers or dinov3_vit; ""
// when train.model_type names a model that is not built in, such as a folder.
func (c *Config) Family() string {
	f, _, _ := knownModel(c.Train.ModelType)
	return f
}

// fillModel sets the model keys that were not given to those of the known model. An unknown model type is left to
// Validate.
func (r *reader) fillModel() {
	_, m, ok := knownModel(r.config.Train.ModelType)
	if !ok {
		return
	}
	filled := Config{Model: m}
	for _, f := range fields(&filled) {
		if _, given := r.origin[f.path]; !given && strings.HasPrefix(f.path, "model.") {
			r.byPath[f.path].value.Set(f.value)
		}
	}
}
