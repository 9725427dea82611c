package run

import (
	"fmt"
	"strings"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/ssl/config"
)

// dropPathOf returns the stochastic depth of a configuration.
func dropPathOf(c *config.Config) (nn.DropPathConfig, error) {
	d, err := dropPathMode.value(c.Train.DropPathMode)
	d.Rate = c.Train.DropPathRate
	return d, err
}

// vitConfig returns the backbone that a configuration describes, for images with the given number of channels.
func vitConfig(c *config.Config, channels int) (nn.ViTConfig, error) {
	m := &c.Model
	family, err := modelFamily.value(c.Family())
	if err != nil {
		return nn.ViTConfig{}, fmt.Errorf("train.model_type: %s: no known model; use one of %s with the keys of the model section",
			c.Train.ModelType, strings.Join(modelFamily.known(), ", "))
	}
	dropPath, err := dropPathOf(c)
	if err != nil {
		return nn.ViTConfig{}, err
	}
	if m.NumChannels > 0 && m.NumChannels != channels {
		return nn.ViTConfig{}, fmt.Errorf("model.num_channels: %d: the images of %s have %d; set model.num_channels=%d, or 0 to take what the data has",
			m.NumChannels, c.Dataset.Path, channels, channels)
	}
	hidden := int(float64(m.HiddenSize) * m.MLPRatio)
	if m.UseSwiGLUFFN && family != nn.FamilyDINOv3 {
		// DINOv2 counts the ratio before the split of the gated MLP: two thirds of it, rounded up to 8.
		hidden = (int(float64(hidden)*2/3) + 7) / 8 * 8
	}
	act := kernels.GELU
	if m.UseSwiGLUFFN {
		act = kernels.SiLU
	}
	v := nn.ViTConfig{
		Family: family, Channels: channels, PatchSize: m.PatchSize, ImageSize: m.ImageSize,
		Dim: m.HiddenSize, Depth: m.NumHiddenLayers, Heads: m.NumAttentionHeads, MLPDim: hidden,
		Gated: m.UseSwiGLUFFN, Act: act, NormEps: m.LayerNormEps,
		QueryBias: m.QKVBias, KeyBias: m.QKVBias && m.KeyBias, ValueBias: m.QKVBias, ProjBias: true, MLPBias: true,
		LayerScale: m.LayerScaleValue > 0, LayerScaleInit: m.LayerScaleValue, Registers: m.NumRegisterTokens,
		MaskToken: family != nn.FamilyViT || c.IBOT.LossWeight > 0,
		RoPE:      nn.RoPEConfig{Theta: m.RopeTheta, Shift: m.PosEmbedShift, Jitter: m.PosEmbedJitter, Rescale: m.PosEmbedRescale, PerBlock: true},
		DropPath:  dropPath,
	}
	if family == nn.FamilyDINOv2Registers {
		v.Interpolation = nn.InterpolateAntialias
	}
	return v, v.Validate()
}
