package hf

import (
	"fmt"
	"math"
	"strings"

	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// Export returns a checkpoint's tensors in another naming, such as Meta's with its fused query, key and value. dropped
// lists the tensors that the naming does not have, with the reason.
func (c *Checkpoint) Export(naming Naming) (out safetensors.Source, dropped []Item, err error) {
	cfg := c.Config.ViTConfig
	if err := exportable(cfg, naming); err != nil {
		return nil, nil, err
	}
	v := newView(c)
	all := links(cfg, naming)
	fold := naming == NamingTimm && cfg.Family == nn.FamilyDINOv2Registers
	done := map[string]bool{}
	for _, l := range all {
		e := c.view.entries[l.name]
		switch {
		case l.foreign == "":
			dropped = append(dropped, Item{Name: l.name, Why: "the " + string(naming) + " naming does not have it"})
			continue
		case e == nil && l.shape.Len() == 0:
			continue
		case e == nil:
			return nil, nil, fmt.Errorf("the checkpoint has no %s", l.name)
		case done[l.foreign]:
			continue
		case fold && l.name == "embeddings.cls_token":
			c.foldCLS(v, l, e.info)
		case fold && l.name == "embeddings.position_embeddings":
			row := int64(cfg.Dim) * int64(e.info.DType.Bits()) / 8
			v.add(l.foreign, e.info.DType, tensor.Shape{1, l.shape[1] - 1, cfg.Dim}, &viewEntry{pieces: []piece{{name: l.name, off: row, n: e.info.NumBytes() - row}}})
		case l.parts > 1:
			c.joinParts(v, all, l, e.info)
		default:
			v.addPart(l.foreign, e.info, l.foreignShape, 0, 1)
		}
		done[l.foreign] = true
	}
	if naming == NamingDINOv3 {
		addDINOv3Constants(v, cfg)
	}
	return v, dropped, nil
}

func exportable(cfg nn.ViTConfig, naming Naming) error {
	fits := map[Naming][]nn.Family{
		NamingHF:     {nn.FamilyViT, nn.FamilyDINOv2, nn.FamilyDINOv2Registers, nn.FamilyDINOv3},
		NamingTimm:   {nn.FamilyViT, nn.FamilyDINOv2, nn.FamilyDINOv2Registers, nn.FamilyDINOv3},
		NamingDINO:   {nn.FamilyViT},
		NamingDINOv2: {nn.FamilyDINOv2, nn.FamilyDINOv2Registers},
		NamingDINOv3: {nn.FamilyDINOv3},
	}
	families, ok := fits[naming]
	if !ok {
		return fmt.Errorf("unknown target %q; it must be hf, dino, dinov2, dinov3 or timm", naming)
	}
	for _, f := range families {
		if f == cfg.Family {
			return nil
		}
	}
	return fmt.Errorf("a %s model cannot be written as %s, which is another architecture", cfg.Family, naming)
}

// joinParts stacks query, key and value. A part the model lacks (DINOv3's key bias) is zero.
func (c *Checkpoint) joinParts(v *view, all []link, first link, info safetensors.Info) {
	size := info.NumBytes()
	pieces := make([]piece, first.parts)
	for i := range pieces {
		pieces[i] = piece{fill: make([]byte, info.DType.Bits()/8), n: size}
	}
	for _, l := range all {
		if l.foreign == first.foreign && c.view.entries[l.name] != nil {
			pieces[l.part] = piece{name: l.name, n: size}
		}
	}
	shape := append(tensor.Shape{first.shape[0] * first.parts}, first.shape[1:]...)
	v.add(first.foreign, info.DType, shape, &viewEntry{pieces: pieces})
}

// foldCLS adds the position row of CLS to the token, as timm does for models with registers.
func (c *Checkpoint) foldCLS(v *view, l link, info safetensors.Info) {
	pos := c.view.entries["embeddings.position_embeddings"].info
	v.addComputed(l.foreign, l.shape, func() ([]float32, error) {
		cls, err := floats(c, info)
		if err != nil {
			return nil, err
		}
		table, err := floats(c, pos)
		if err != nil {
			return nil, err
		}
		for i := range cls {
			cls[i] += table[i]
		}
		return cls, nil
	})
}

// addDINOv3Constants writes the buffers that Meta's modules store: the rotary periods and, where there is a fused
// bias, its mask of one for query and value and zero for key.
func addDINOv3Constants(v *view, cfg nn.ViTConfig) {
	n := cfg.Dim / cfg.Heads / 4
	v.addComputed("rope_embed.periods", tensor.Shape{n}, func() ([]float32, error) {
		out := make([]float32, n)
		for k := range out {
			out[k] = float32(math.Pow(cfg.RoPE.Theta, float64(k)/float64(n)))
		}
		return out, nil
	})
	for _, i := range append([]safetensors.Info(nil), v.infos...) {
		block, ok := strings.CutSuffix(i.Name, ".attn.qkv.bias")
		if !ok {
			continue
		}
		d := cfg.Dim
		v.addComputed(block+".attn.qkv.bias_mask", tensor.Shape{3 * d}, func() ([]float32, error) {
			out := make([]float32, 3*d)
			for k := range d {
				out[k], out[2*d+k] = 1, 1
			}
			return out, nil
		})
	}
}
