package hf

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
)

// The file names of a Hugging Face model folder.
const (
	ConfigFile    = "config.json"
	ProcessorFile = "preprocessor_config.json"

	// AdapterFile and AdapterConfigFile hold a PEFT adapter.
	AdapterFile       = "adapter_model.safetensors"
	AdapterConfigFile = "adapter_config.json"
)

// ErrConfig is wrapped by every error about a config.json.
var ErrConfig = errors.New("model config")

// Config is a model's config.json.
type Config struct {
	nn.ViTConfig
	// Timm is set when the file is timm's (it names an architecture, and no model_type or that of transformers'
	// wrapper).
	Timm *TimmConfig
	// Extra is what the file says beyond the architecture (labels, architectures, …), to be written back unchanged.
	Extra map[string]json.RawMessage
	// Notes are things a reader should know, such as a dropout that is not applied.
	Notes []string
	// Assumed says what the tensors did not tell, and what it was taken to be, for a model without a config.json.
	Assumed string
}

// Limits that no published model comes near; they keep a damaged or hostile config from asking for all memory.
const (
	maxDim    = 1 << 16
	maxDepth  = 1 << 10
	maxPixels = 1 << 15
)

// ParseConfig reads a config.json of transformers (model_type vit, vit_msn, vit_mae, dinov2, dinov2_with_registers,
// dinov3_vit) or of timm. Missing keys have the defaults of the class in the current transformers release. For a
// timm config the architecture is as far as its name and arguments tell; Complete fills in the rest from tensors.
func ParseConfig(raw []byte) (*Config, error) {
	m, err := parseObject(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	f := &fields{m: m}
	var c *Config
	// transformers writes timm's config with a model_type of its own (TimmWrapperModel).
	if kind, ok := m["model_type"]; (!ok || string(kind) == `"timm_wrapper"`) && m["architecture"] != nil {
		c = parseTimm(f)
	} else {
		c = parseTransformers(f)
	}
	if f.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, f.err)
	}
	if c.Timm == nil {
		if err := c.Validate(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	return c, nil
}

func parseTransformers(f *fields) *Config {
	c := &Config{Extra: f.m}
	v := &c.ViTConfig
	kind := f.str("model_type", "")
	switch kind {
	case "vit", "vit_msn", "vit_mae":
		v.Family = nn.FamilyViT
	case "dinov2":
		v.Family = nn.FamilyDINOv2
	case "dinov2_with_registers":
		v.Family = nn.FamilyDINOv2Registers
	case "dinov3_vit":
		v.Family = nn.FamilyDINOv3
	case "":
		f.fail("model_type", "missing", "vit, dinov2, dinov2_with_registers or dinov3_vit (or timm's architecture)")
		return c
	default:
		f.fail("model_type", kind, "vit, vit_msn, vit_mae, dinov2, dinov2_with_registers or dinov3_vit; other models are not supported")
		return c
	}
	dim := map[nn.Family]int{nn.FamilyDINOv3: 384}[v.Family]
	if dim == 0 {
		dim = 768
	}
	heads := 12
	if v.Family == nn.FamilyDINOv3 {
		heads = 6
	}
	patch := 16
	if v.Family == nn.FamilyDINOv2 {
		patch = 14
	}
	v.Dim = f.integer("hidden_size", dim, 1, maxDim)
	v.Depth = f.integer("num_hidden_layers", 12, 1, maxDepth)
	v.Heads = f.integer("num_attention_heads", heads, 1, maxDim)
	v.PatchSize = f.side("patch_size", patch, 1, maxPixels)
	v.ImageSize = f.side("image_size", 224, 1, maxPixels)
	v.Channels = f.integer("num_channels", 3, 1, 4096)
	v.ProjBias, v.MLPBias = true, true
	act := f.str("hidden_act", "gelu")

	switch v.Family {
	case nn.FamilyViT:
		eps := 1e-12
		if kind == "vit_msn" {
			eps = 1e-6
		}
		v.NormEps = f.number("layer_norm_eps", eps)
		v.MLPDim = f.integer("intermediate_size", 3072, 1, maxDim*8)
		setQKVBias(v, f.boolean("qkv_bias", true))
		if p := f.str("pooler_act", "tanh"); p != "tanh" {
			f.fail("pooler_act", p, "tanh")
		}
		f.integer("pooler_output_size", v.Dim, v.Dim, v.Dim)
	case nn.FamilyDINOv2, nn.FamilyDINOv2Registers:
		v.NormEps = f.number("layer_norm_eps", 1e-6)
		v.Gated = f.boolean("use_swiglu_ffn", false)
		v.MLPDim = dinov2MLPDim(v.Dim, f.number("mlp_ratio", 4), v.Gated)
		setQKVBias(v, f.boolean("qkv_bias", true))
		v.LayerScale, v.LayerScaleInit = true, f.number("layerscale_value", 1)
		v.MaskToken = true
		if v.Family == nn.FamilyDINOv2 {
			v.MaskToken = f.boolean("use_mask_token", true)
		} else {
			v.Registers = f.integer("num_register_tokens", 4, 0, 4096)
			v.Interpolation = nn.InterpolateAntialias
		}
		v.DropPath.Rate = f.number("drop_path_rate", 0)
	case nn.FamilyDINOv3:
		v.NormEps = f.number("layer_norm_eps", 1e-5)
		v.MLPDim = f.integer("intermediate_size", 1536, 1, maxDim*8)
		v.Gated = f.boolean("use_gated_mlp", false)
		v.QueryBias = f.boolean("query_bias", true)
		v.KeyBias = f.boolean("key_bias", false)
		v.ValueBias = f.boolean("value_bias", true)
		v.ProjBias = f.boolean("proj_bias", true)
		v.MLPBias = f.boolean("mlp_bias", true)
		v.LayerScale, v.LayerScaleInit = true, f.number("layerscale_value", 1)
		v.MaskToken = true
		v.Registers = f.integer("num_register_tokens", 0, 0, 4096)
		v.RoPE.Theta = f.number("rope_theta", 100)
		v.RoPE.Shift = f.number("pos_embed_shift", 0)
		v.RoPE.Jitter = f.number("pos_embed_jitter", 0)
		// Not null means on by default in this class; an explicit null switches it off.
		v.RoPE.Rescale = 2
		if _, ok := f.m["pos_embed_rescale"]; ok {
			v.RoPE.Rescale = f.number("pos_embed_rescale", 0)
		}
		v.DropPath.Rate = f.number("drop_path_rate", 0)
	}
	v.Act = f.activation("hidden_act", act)
	if v.Gated && v.Family != nn.FamilyDINOv3 {
		v.Act = kernels.SiLU // whatever hidden_act says, as the classes do
	}
	if rule := f.str(interpolationKey, ""); rule != "" {
		i := slices.Index(interpolationNames, rule)
		if i < 0 {
			f.fail(interpolationKey, rule, fmt.Sprintf("one of %v", interpolationNames))
		} else {
			v.Interpolation = nn.Interpolation(i)
		}
	}
	for _, key := range []string{"hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout"} {
		if p := f.number(key, 0); p != 0 {
			c.Notes = append(c.Notes, fmt.Sprintf("%s is %g; this program applies no dropout inside the trunk", key, p))
		}
	}
	return c
}

// interpolationKey is our own key, written when a model needs another rule than its class has; transformers
// keeps keys it does not know.
const interpolationKey = "dmx_interpolation"

var interpolationNames = []string{"size", "offset", "antialias"}

func setQKVBias(v *nn.ViTConfig, on bool) { v.QueryBias, v.KeyBias, v.ValueBias = on, on, on }

// dinov2MLPDim is the hidden width of transformers' Dinov2 classes: int(D·ratio), and for SwiGLU two thirds of it
// rounded up to a multiple of 8.
func dinov2MLPDim(dim int, ratio float64, gated bool) int {
	h := int(float64(dim) * ratio)
	if gated {
		h = (int(float64(h*2)/3) + 7) / 8 * 8
	}
	return h
}

// dinov2Ratio finds the whole mlp_ratio that gives a hidden width; the class allows no other.
func dinov2Ratio(c nn.ViTConfig) (int, error) {
	for ratio := 1; ratio <= 64; ratio++ {
		if dinov2MLPDim(c.Dim, float64(ratio), c.Gated) == c.MLPDim {
			return ratio, nil
		}
	}
	return 0, fmt.Errorf("%w: an MLP of width %d on %d channels cannot be written as %s: no whole mlp_ratio gives it", ErrConfig, c.MLPDim, c.Dim, c.Family)
}

var activationNames = map[string]kernels.Activation{
	"gelu": kernels.GELU, "gelu_new": kernels.GELUTanh, "gelu_pytorch_tanh": kernels.GELUTanh,
	"quick_gelu": kernels.QuickGELU, "silu": kernels.SiLU, "swish": kernels.SiLU, "relu": kernels.ReLU,
}

// ActivationName is transformers' name for an activation.
func ActivationName(a kernels.Activation) string {
	switch a {
	case kernels.GELUTanh:
		return "gelu_pytorch_tanh"
	case kernels.QuickGELU:
		return "quick_gelu"
	case kernels.SiLU:
		return "silu"
	case kernels.ReLU:
		return "relu"
	}
	return "gelu"
}

// known lists the keys that the architecture decides; MarshalConfig writes them anew.
var known = []string{
	"model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "patch_size", "image_size", "num_channels",
	"hidden_act", "layer_norm_eps", "intermediate_size", "qkv_bias", "use_swiglu_ffn", "mlp_ratio", "layerscale_value",
	"use_mask_token", "num_register_tokens", "drop_path_rate", "use_gated_mlp", "query_bias", "key_bias", "value_bias",
	"proj_bias", "mlp_bias", "rope_theta", "pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale",
	"torch_dtype", "dtype", "architectures", "transformers_version", "_attn_implementation", "_name_or_path",
	"out_features", "out_indices", "stage_names", interpolationKey,
	// Members of timm's file that a transformers config has no place for.
	"architecture", "num_features", "global_pool", "model_args", "pretrained_cfg",
}

var classNames = [...]string{"ViTModel", "Dinov2Model", "Dinov2WithRegistersModel", "DINOv3ViTModel"}

// MarshalConfig writes a transformers config.json with every key explicit, because class defaults changed between
// releases. dtype is the type of the stored weights, such as "float32".
func MarshalConfig(c *Config, dtype string) ([]byte, error) {
	v := c.ViTConfig
	if err := v.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if v.Family == nn.FamilyViT && v.LayerScale || v.Family != nn.FamilyViT && !v.LayerScale {
		return nil, fmt.Errorf("%w: %s with LayerScale %v has no Hugging Face class", ErrConfig, v.Family, v.LayerScale)
	}
	if v.Family != nn.FamilyDINOv3 && (v.QueryBias != v.KeyBias || v.KeyBias != v.ValueBias || !v.ProjBias || !v.MLPBias) {
		return nil, fmt.Errorf("%w: %s has one qkv_bias for query, key and value and no projection or MLP without a bias", ErrConfig, v.Family)
	}
	m := map[string]any{}
	for k, raw := range c.Extra {
		if !slices.Contains(known, k) {
			m[k] = raw
		}
	}
	m["model_type"] = v.Family.String()
	m["architectures"] = []string{classNames[v.Family]}
	m["torch_dtype"] = dtype
	m["transformers_version"] = "4.56.0"
	m["hidden_size"], m["num_hidden_layers"], m["num_attention_heads"] = v.Dim, v.Depth, v.Heads
	m["patch_size"], m["image_size"], m["num_channels"] = v.PatchSize, v.ImageSize, v.Channels
	m["hidden_act"], m["layer_norm_eps"] = ActivationName(v.Act), float(v.NormEps)
	setDefault(m, "initializer_range", 0.02)
	switch v.Family {
	case nn.FamilyViT:
		m["intermediate_size"], m["qkv_bias"] = v.MLPDim, v.QueryBias
		setDefault(m, "encoder_stride", v.PatchSize)
		setDefault(m, "hidden_dropout_prob", float(0))
		setDefault(m, "attention_probs_dropout_prob", float(0))
		m["pooler_act"], m["pooler_output_size"] = "tanh", v.Dim
	case nn.FamilyDINOv2, nn.FamilyDINOv2Registers:
		ratio, err := dinov2Ratio(v)
		if err != nil {
			return nil, err
		}
		m["mlp_ratio"], m["qkv_bias"], m["use_swiglu_ffn"] = ratio, v.QueryBias, v.Gated
		if v.Gated {
			m["hidden_act"] = "gelu" // the class ignores it for SwiGLU; published files say gelu
		}
		m["layerscale_value"], m["drop_path_rate"] = float(v.LayerScaleInit), float(v.DropPath.Rate)
		setDefault(m, "hidden_dropout_prob", float(0))
		setDefault(m, "attention_probs_dropout_prob", float(0))
		setDefault(m, "apply_layernorm", true)
		setDefault(m, "reshape_hidden_states", true)
		if v.Family == nn.FamilyDINOv2 {
			m["use_mask_token"] = v.MaskToken
		} else {
			m["num_register_tokens"] = v.Registers
		}
	case nn.FamilyDINOv3:
		m["intermediate_size"], m["use_gated_mlp"] = v.MLPDim, v.Gated
		m["query_bias"], m["key_bias"], m["value_bias"] = v.QueryBias, v.KeyBias, v.ValueBias
		m["proj_bias"], m["mlp_bias"] = v.ProjBias, v.MLPBias
		m["layerscale_value"], m["drop_path_rate"] = float(v.LayerScaleInit), float(v.DropPath.Rate)
		m["num_register_tokens"], m["rope_theta"] = v.Registers, float(v.RoPE.Theta)
		m["pos_embed_shift"], m["pos_embed_jitter"], m["pos_embed_rescale"] = orNull(v.RoPE.Shift, 0), orNull(v.RoPE.Jitter, 1), orNull(v.RoPE.Rescale, 1)
		setDefault(m, "attention_dropout", float(0))
		setDefault(m, "apply_layernorm", true)
		setDefault(m, "reshape_hidden_states", true)
	}
	usual := nn.InterpolateSize
	if v.Family == nn.FamilyDINOv2Registers {
		usual = nn.InterpolateAntialias
	}
	if v.Interpolation != usual && v.Family != nn.FamilyDINOv3 {
		m[interpolationKey] = interpolationNames[v.Interpolation]
	}
	return marshal(m)
}

func setDefault(m map[string]any, key string, v any) {
	if _, ok := m[key]; !ok {
		m[key] = v
	}
}

// orNull is the value of an augmentation that is off at 0 and at neutral.
func orNull(v, neutral float64) any {
	if v == 0 || v == neutral {
		return nil
	}
	return float(v)
}
