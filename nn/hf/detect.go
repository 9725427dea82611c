package hf

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

var errNoTrunk = errors.New("no vision transformer found: there is no tensor cls_token or embeddings.cls_token under any prefix")

// modernise renames Hugging Face tensors to the names in published files, which differ from those that some releases
// of transformers write.
func (s *survey) modernise() error {
	vit := s.has("layers.0.layernorm_before.weight") || s.has("encoder.layer.0.layernorm_before.weight")
	s.v3 = s.has("layer.0.attention.q_proj.weight") || s.has("model.layer.0.attention.q_proj.weight")
	byName := map[string]safetensors.Info{}
	for i, name := range s.order {
		n := name
		switch {
		case s.v3:
			n = strings.TrimPrefix(n, "model.")
		default:
			if rest, ok := strings.CutPrefix(n, "layers."); ok {
				n = "encoder.layer." + rest
			}
			n = newNames.Replace(n)
			if vit {
				n = newViTNames.Replace(n)
			}
		}
		if _, dup := byName[n]; dup {
			return fmt.Errorf("two tensors mean %q", n)
		}
		byName[n] = s.byName[name]
		s.order[i] = n
	}
	s.byName = byName
	return nil
}

// classify tells Meta's and timm's namings apart by the tensors that only one of them has.
func (s *survey) classify() {
	switch {
	case s.has("storage_tokens") || s.has("rope_embed.periods"):
		s.naming, s.v3 = NamingDINOv3, true
	case s.has("blocks.0.gamma_1") && !s.has("pos_embed"):
		s.naming, s.v3 = NamingTimm, true
	case s.has("reg_token") || s.packedGate():
		s.naming = NamingTimm
	case s.has("blocks.0.ls1.gamma") || s.has("mask_token") || s.has("register_tokens"):
		s.naming = NamingDINOv2
	default:
		s.naming = NamingDINO
	}
}

// packedGate reports timm's packed SwiGLU, whose first layer is called fc1 and is twice as wide as the second.
func (s *survey) packedGate() bool {
	a, b := s.shape("blocks.0.mlp.fc1.weight"), s.shape("blocks.0.mlp.fc2.weight")
	return len(a) == 2 && len(b) == 2 && a[0] == 2*b[1]
}

func (s *survey) has(name string) bool { _, ok := s.byName[name]; return ok }

func (s *survey) shape(name string) tensor.Shape {
	if i, ok := s.byName[name]; ok {
		return i.Shape
	}
	return nil
}

// first finds the first of several names that exists.
func (s *survey) first(names ...string) (string, tensor.Shape) {
	for _, n := range names {
		if i, ok := s.byName[n]; ok {
			return n, i.Shape
		}
	}
	return "", nil
}

// infer returns the architecture that the tensors' names and shapes imply. What they do not tell is as in the
// published models: heads of 64 channels (128 at width 4096), the family's epsilon, exact GELU. imageSize, if not 0,
// tells which rows of a position table belong to patches.
func (s *survey) infer(imageSize int) (nn.ViTConfig, error) {
	var c nn.ViTConfig
	hf := s.naming == NamingHF
	fail := func(format string, args ...any) (nn.ViTConfig, error) {
		return c, fmt.Errorf("%w: cannot be read off the tensors: %s", ErrConfig, fmt.Sprintf(format, args...))
	}
	_, cls := s.first("embeddings.cls_token", "cls_token")
	if len(cls) > 0 && cls.Len() == 0 {
		return fail("cls_token is empty, as in a DeepSpeed ZeRO-3 checkpoint, whose parameters are in the files of all ranks; " +
			"join them with the zero_to_fp32.py beside the checkpoint")
	}
	if len(cls) == 0 {
		return fail("cls_token has no dimensions")
	}
	c.Dim = cls[len(cls)-1]
	name, w := s.first("embeddings.patch_embeddings.projection.weight", "embeddings.patch_embeddings.weight", "patch_embed.proj.weight")
	if len(w) != 4 || w[2] != w[3] || w[0] != c.Dim || w[1] < 1 || w[2] < 1 {
		return fail("%s has shape %s; expected [%d channels patch patch]", name, w, c.Dim)
	}
	c.Channels, c.PatchSize = w[1], w[2]
	block := "blocks.%d."
	switch {
	case hf && s.v3:
		block = "layer.%d."
	case hf:
		block = "encoder.layer.%d."
	}
	vitNames := s.has("encoder.layer.0.layernorm_before.weight")
	norm := "norm1.weight"
	if vitNames {
		norm = "layernorm_before.weight"
	}
	for c.Depth < maxDepth && s.has(fmt.Sprintf(block, c.Depth)+norm) {
		c.Depth++
	}
	if c.Depth == 0 {
		return fail("there is no %s", fmt.Sprintf(block, 0)+norm)
	}
	b := func(n string) string { return fmt.Sprintf(block, 0) + n }

	_, fc2 := s.first(b("mlp.fc2.weight"), b("mlp.w3.weight"), b("mlp.weights_out.weight"), b("mlp.down_proj.weight"), b("output.dense.weight"))
	if len(fc2) != 2 {
		return fail("no MLP in the first block")
	}
	c.MLPDim = fc2[1]
	gate, _ := s.first(b("mlp.w12.weight"), b("mlp.w1.weight"), b("mlp.weights_in.weight"), b("mlp.gate_proj.weight"), b("mlp.fc1_g.weight"))
	c.Gated = gate != "" || s.packedGate()
	c.Act = kernels.GELU
	if c.Gated {
		c.Act = kernels.SiLU
	}
	_, mb := s.first(b("mlp.fc2.bias"), b("mlp.w3.bias"), b("mlp.weights_out.bias"), b("mlp.down_proj.bias"), b("output.dense.bias"))
	c.MLPBias = mb != nil
	_, pb := s.first(b("attn.proj.bias"), b("attention.o_proj.bias"), b("attention.output.dense.bias"))
	c.ProjBias = pb != nil
	fused := s.has(b("attn.qkv.bias"))
	_, qb := s.first(b("attn.q_bias"), b("attention.q_proj.bias"), b("attention.attention.query.bias"))
	_, kb := s.first(b("attention.k_proj.bias"), b("attention.attention.key.bias"))
	_, vb := s.first(b("attn.v_bias"), b("attention.v_proj.bias"), b("attention.attention.value.bias"))
	c.QueryBias, c.KeyBias, c.ValueBias = fused || qb != nil, fused && !s.v3 || kb != nil, fused || vb != nil
	_, ls := s.first(b("ls1.gamma"), b("gamma_1"), b("layer_scale1.lambda1"))
	_, reg := s.first("embeddings.register_tokens", "register_tokens", "reg_token", "storage_tokens")
	if len(reg) == 3 {
		c.Registers = reg[1]
	}
	mask, _ := s.first("embeddings.mask_token", "mask_token")

	switch {
	case s.v3:
		c.Family = nn.FamilyDINOv3
	case reg != nil:
		c.Family = nn.FamilyDINOv2Registers
	case vitNames, ls == nil && !c.Gated && !hf:
		c.Family = nn.FamilyViT
	default:
		c.Family = nn.FamilyDINOv2
	}
	c.Heads = max(c.Dim/64, 1)
	if c.Dim == 4096 {
		c.Heads = 32
	}
	c.NormEps, c.ImageSize = 1e-6, 224
	switch c.Family {
	case nn.FamilyViT:
		c.MaskToken = mask != ""
	default:
		c.MaskToken, c.LayerScale, c.LayerScaleInit = true, true, 1
	}
	if c.Family == nn.FamilyDINOv3 {
		c.NormEps = 1e-5
		c.RoPE = nn.RoPEConfig{Theta: 100, Rescale: 2}
		return c, nil
	}
	switch {
	case c.Family == nn.FamilyDINOv2Registers || s.naming == NamingTimm:
		c.Interpolation = nn.InterpolateAntialias
	case !hf:
		c.Interpolation = nn.InterpolateOffset // as Meta's code does
	}
	_, pos := s.first("embeddings.position_embeddings", "pos_embed")
	if len(pos) != 3 || pos[2] != c.Dim {
		return fail("the position table has shape %s; expected [1 positions %d]", pos, c.Dim)
	}
	extras := []int{1, 0, 1 + c.Registers}
	for _, extra := range extras {
		if side, ok := root(pos[1] - extra); ok && side == imageSize/c.PatchSize {
			c.ImageSize = side * c.PatchSize
			return c, nil
		}
	}
	for _, extra := range extras {
		if side, ok := root(pos[1] - extra); ok {
			c.ImageSize = side * c.PatchSize
			return c, nil
		}
	}
	return fail("a position table of %d rows does not belong to a square grid", pos[1])
}

func root(n int) (int, bool) {
	if n < 1 {
		return 0, false
	}
	r := int(math.Round(math.Sqrt(float64(n))))
	return r, r*r == n
}
