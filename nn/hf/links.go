package hf

import (
	"fmt"
	"iter"
	"maps"
	"strings"

	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// Naming is a way of naming a vision transformer's tensors.
type Naming string

// The namings. DINO and DINOv2 are Meta's first two repositories; timm's naming depends on the family.
const (
	NamingHF     Naming = "hf"
	NamingDINO   Naming = "dino"
	NamingDINOv2 Naming = "dinov2"
	NamingDINOv3 Naming = "dinov3"
	NamingTimm   Naming = "timm"
)

// spec is one tensor of a model under its Hugging Face name.
type spec struct {
	name  string
	shape tensor.Shape
}

// specs lists the tensors that a Hugging Face file of this config holds.
func specs(c nn.ViTConfig) []spec {
	var out []spec
	d := c.Dim
	add := func(name string, shape ...int) { out = append(out, spec{name, shape}) }
	linear := func(name string, bias bool, o, i int) {
		add(name+".weight", o, i)
		if bias {
			add(name+".bias", o)
		}
	}
	norm := func(name string) { add(name+".weight", d); add(name+".bias", d) }
	v3 := c.Family == nn.FamilyDINOv3
	add("embeddings.cls_token", 1, 1, d)
	if c.MaskToken {
		if c.Family == nn.FamilyDINOv2 || c.Family == nn.FamilyDINOv2Registers {
			add("embeddings.mask_token", 1, d)
		} else {
			add("embeddings.mask_token", 1, 1, d)
		}
	}
	if v3 || c.Family == nn.FamilyDINOv2Registers {
		add("embeddings.register_tokens", 1, c.Registers, d)
	}
	patch := "embeddings.patch_embeddings.projection"
	if v3 {
		patch = "embeddings.patch_embeddings"
	} else {
		rows := c.Grid() * c.Grid()
		if !c.NoEmbedClass {
			rows++
		}
		add("embeddings.position_embeddings", 1, rows, d)
	}
	add(patch+".weight", d, c.Channels, c.PatchSize, c.PatchSize)
	add(patch+".bias", d)
	for i := range c.Depth {
		p := fmt.Sprintf("encoder.layer.%d.", i)
		n1, n2, fc1, fc2 := p+"norm1", p+"norm2", p+"mlp.fc1", p+"mlp.fc2"
		q, k, v, o := p+"attention.attention.query", p+"attention.attention.key", p+"attention.attention.value", p+"attention.output.dense"
		switch {
		case v3:
			p = fmt.Sprintf("layer.%d.", i)
			n1, n2, fc1, fc2 = p+"norm1", p+"norm2", p+"mlp.up_proj", p+"mlp.down_proj"
			q, k, v, o = p+"attention.q_proj", p+"attention.k_proj", p+"attention.v_proj", p+"attention.o_proj"
		case c.Family == nn.FamilyViT:
			n1, n2, fc1, fc2 = p+"layernorm_before", p+"layernorm_after", p+"intermediate.dense", p+"output.dense"
		}
		norm(n1)
		linear(q, c.QueryBias, d, d)
		linear(k, c.KeyBias, d, d)
		linear(v, c.ValueBias, d, d)
		linear(o, c.ProjBias, d, d)
		if c.LayerScale {
			add(p+"layer_scale1.lambda1", d)
		}
		norm(n2)
		switch {
		case c.Gated && v3:
			linear(p+"mlp.gate_proj", c.MLPBias, c.MLPDim, d)
			linear(fc1, c.MLPBias, c.MLPDim, d)
			linear(fc2, c.MLPBias, d, c.MLPDim)
		case c.Gated:
			linear(p+"mlp.weights_in", c.MLPBias, 2*c.MLPDim, d)
			linear(p+"mlp.weights_out", c.MLPBias, d, c.MLPDim)
		default:
			linear(fc1, c.MLPBias, c.MLPDim, d)
			linear(fc2, c.MLPBias, d, c.MLPDim)
		}
		if c.LayerScale {
			add(p+"layer_scale2.lambda1", d)
		}
	}
	if v3 {
		norm("norm")
	} else {
		norm("layernorm")
	}
	if c.Pooler {
		linear("pooler.dense", true, d, d)
	}
	return out
}

// link says where a Hugging Face tensor is in a file of another naming: it is one of several equal parts of the rows
// of one tensor there. Most are the whole tensor; query, key and value are thirds of a fused one.
type link struct {
	spec
	foreign      string // "" if the naming does not have the tensor
	foreignShape tensor.Shape
	part, parts  int
}

// metaBlock maps the part of a tensor's name behind the block number to Meta's names. "qkv:0" is the first third of
// qkv.
var metaBlock = map[string]string{
	"norm1": "norm1", "norm2": "norm2", "layernorm_before": "norm1", "layernorm_after": "norm2",
	"attention.attention.query": "attn.qkv:0", "attention.attention.key": "attn.qkv:1", "attention.attention.value": "attn.qkv:2",
	"attention.output.dense": "attn.proj", "layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma",
	"intermediate.dense": "mlp.fc1", "output.dense": "mlp.fc2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
	"mlp.weights_in": "mlp.w12", "mlp.weights_out": "mlp.w3",
}

var v3Block = map[string]string{
	"norm1": "norm1", "norm2": "norm2",
	"attention.q_proj": "attn.qkv:0", "attention.k_proj": "attn.qkv:1", "attention.v_proj": "attn.qkv:2",
	"attention.o_proj": "attn.proj", "layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma",
	"mlp.up_proj": "mlp.fc1", "mlp.down_proj": "mlp.fc2",
}

// links is the table between the Hugging Face names of a config and another naming.
func links(c nn.ViTConfig, naming Naming) []link {
	var out []link
	for _, s := range specs(c) {
		l := link{spec: s, parts: 1, foreignShape: s.shape}
		l.foreign = foreignName(c, naming, s.name)
		if name, part, ok := strings.Cut(l.foreign, ":"); ok {
			suffix := part[1:]
			l.foreign = name + suffix
			l.part, l.parts = int(part[0]-'0'), 3
		}
		if s.name == "embeddings.mask_token" && (naming == NamingDINOv2 || naming == NamingDINOv3) {
			l.foreignShape = tensor.Shape{1, c.Dim}
		}
		out = append(out, l)
	}
	return out
}

func foreignName(c nn.ViTConfig, naming Naming, name string) string {
	if naming == NamingHF {
		return name
	}
	v3 := c.Family == nn.FamilyDINOv3
	registers := map[Naming]string{NamingTimm: "reg_token", NamingDINOv3: "storage_tokens", NamingDINOv2: "register_tokens"}[naming]
	top := map[string]string{
		"embeddings.cls_token": "cls_token", "embeddings.position_embeddings": "pos_embed", "embeddings.register_tokens": registers,
		"embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight", "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
		"embeddings.patch_embeddings.weight": "patch_embed.proj.weight", "embeddings.patch_embeddings.bias": "patch_embed.proj.bias",
		"layernorm.weight": "norm.weight", "layernorm.bias": "norm.bias", "norm.weight": "norm.weight", "norm.bias": "norm.bias",
	}
	if naming == NamingDINOv2 || naming == NamingDINOv3 {
		top["embeddings.mask_token"] = "mask_token"
	}
	if f, ok := top[name]; ok {
		return f
	}
	rest, ok := strings.CutPrefix(name, "encoder.layer.")
	if !ok {
		rest, ok = strings.CutPrefix(name, "layer.")
	}
	if !ok {
		return ""
	}
	index, rest, _ := strings.Cut(rest, ".")
	module, suffix := rest, ""
	for _, s := range []string{".weight", ".bias"} {
		if m, ok := strings.CutSuffix(rest, s); ok {
			module, suffix = m, s
		}
	}
	block := metaBlock
	if v3 {
		block = v3Block
	}
	to := block[module]
	switch {
	case naming == NamingTimm && v3:
		switch module + suffix {
		case "attention.q_proj.bias":
			to, suffix = "attn.q_bias", ""
		case "attention.v_proj.bias":
			to, suffix = "attn.v_bias", ""
		case "attention.k_proj.bias":
			return ""
		case "layer_scale1.lambda1":
			to = "gamma_1"
		case "layer_scale2.lambda1":
			to = "gamma_2"
		}
		if c.Gated {
			to = replaceIf(to, module, map[string]string{"mlp.gate_proj": "mlp.fc1_g", "mlp.up_proj": "mlp.fc1_x"})
		}
	case naming == NamingTimm:
		to = replaceIf(to, module, map[string]string{"mlp.weights_in": "mlp.fc1", "mlp.weights_out": "mlp.fc2"})
	case v3 && c.Gated:
		to = replaceIf(to, module, map[string]string{"mlp.gate_proj": "mlp.w1", "mlp.up_proj": "mlp.w2", "mlp.down_proj": "mlp.w3"})
	case naming == NamingDINO && strings.HasPrefix(to, "ls"):
		return ""
	}
	if to == "" {
		return ""
	}
	return "blocks." + index + "." + to + suffix
}

func replaceIf(to, module string, table map[string]string) string {
	if t, ok := table[module]; ok {
		return t
	}
	return to
}

// ignorable lists tensors of other namings that the model does not need, with the reason. Keys are exact names or,
// with a leading dot, suffixes.
var ignorable = map[string]string{
	"rope_embed.periods":       "rotary periods are computed from rope_theta",
	".qkv.bias_mask":           "the constant mask of the key bias",
	".relative_position_index": "a constant table",
}

func whyIgnorable(name string) string {
	for key, why := range ignorable {
		if name == key || key[0] == '.' && strings.HasSuffix(name, key) {
			return why
		}
	}
	if strings.HasPrefix(name, "local_cls_norm.") {
		return "a norm used for local crops in training only"
	}
	if strings.HasPrefix(name, "head.") || strings.HasPrefix(name, "classifier.") || strings.HasPrefix(name, "head_dist.") {
		return "a classification head, which the trunk does not have"
	}
	return ""
}

func keysOf[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
