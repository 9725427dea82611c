package main

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/ssl/mask"
	"github.com/dino-mx/dmx/tensor"
)

// dino is the recipe of DINO on ViT-S/16: 2 global crops of 224 and 8 local crops of 96 pixels, 65,536 prototypes.
func dino(batch int) ssl.Settings {
	return ssl.Settings{
		Seed: 1, Batch: batch, Views: ssl.MultiCrop(224, 8, 96),
		Backbone: nn.ViTConfig{
			Family: nn.FamilyViT, Channels: 3, PatchSize: 16, ImageSize: 224, Dim: 384, Depth: 12, Heads: 6, MLPDim: 1536,
			Act: kernels.GELU, NormEps: 1e-6, QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true,
		},
		DINO:    ssl.DINO{Weight: optim.Constant(1), Head: nn.HeadConfig{Hidden: 2048, Bottleneck: 256, Prototypes: 65536, Layers: 3, WeightNorm: true}},
		Targets: loss.Targets{StudentTemp: 0.1, CentreMomentum: 0.9},
		Schedules: ssl.Schedules{
			LR: optim.Cosine{Base: 5e-4, Final: 1e-6, Warmup: 10, Total: 100}, WeightDecay: optim.Cosine{Start: .04, Base: .04, Final: .4, Total: 100},
			Momentum: optim.Cosine{Base: .996, Final: 1, Total: 100}, TeacherTemp: optim.Linear{Start: .04, End: .07, Warmup: 10},
		},
		Optim: optim.Options{Beta1: .9, Beta2: .999, Eps: 1e-8, Clip: optim.ClipPerModule, MaxNorm: 3},
		Watch: ssl.Watch{MaxNonFinite: 2},
	}
}

// quickstart is the size of the embedded quickstart recipe: what a step costs where operations are small.
func quickstart() ssl.Settings {
	s := dino(32)
	s.Views = ssl.MultiCrop(28, 2, 14)
	b := &s.Backbone
	b.Channels, b.PatchSize, b.ImageSize, b.Dim, b.Depth, b.Heads, b.MLPDim, b.MaskToken = 1, 7, 28, 64, 3, 2, 256, true
	s.DINO.Head = nn.HeadConfig{Hidden: 256, Bottleneck: 64, Prototypes: 256, Layers: 3, WeightNorm: true}
	head := s.DINO.Head
	s.IBOT = ssl.IBOT{Weight: optim.Constant(1), Head: &head, Mask: mask.Settings{Probability: 0.5, Ratio: [2]float64{0.1, 0.5}}}
	return s
}

// noise is a batch of random pixels.
func noise(s *ssl.Settings) ssl.Batch {
	draw := func(n, size int) *tensor.Tensor {
		x := tensor.Zeros(tensor.F32, n, s.Backbone.Channels, size, size)
		r := tensor.NewRand(9, uint32(size), 0, 0)
		for i := range x.F32() {
			x.F32()[i] = float32(r.Norm())
		}
		return x
	}
	var b ssl.Batch
	for _, v := range s.Views {
		b.Views = append(b.Views, draw(v.Count*s.Batch, v.Height))
	}
	return b
}
