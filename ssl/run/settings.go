package run

import (
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/ssl/mask"
)

// localBatch is the number of images of a step on this rank. There is one rank.
func localBatch(c *config.Config) int {
	if c.Train.BatchSizePerGPU > 0 {
		return c.Train.BatchSizePerGPU
	}
	return c.Train.GlobalBatchSize
}

// settings is the recipe of a configuration for a backbone.
func settings(c *config.Config, backbone nn.ViTConfig) *ssl.Settings {
	t, o := &c.Train, &c.Optim
	batch := localBatch(c)
	scaling := map[string]optim.Scaling{
		"none": optim.NoScaling, "linear_wrt_256": optim.Linear256, "sqrt_wrt_1024": optim.Sqrt1024, "4sqrt_wrt_1024": optim.FourSqrt1024,
	}[o.LRScaling]
	clip := map[string]optim.Clip{"tensor": optim.ClipPerParameter, "module": optim.ClipPerModule, "global": optim.ClipGlobal}[o.ClipScope]
	lastLayer := map[string]optim.LastLayer{"drop_gradient": optim.LastLayerSkipped, "zero_lr": optim.LastLayerHeld}[o.LastLayerFreeze]
	s := &ssl.Settings{
		Seed: uint64(t.Seed), Batch: batch, LocalCrops: c.Crops.LocalCropsNumber,
		GlobalSize: c.Crops.GlobalCropsSize, LocalSize: c.Crops.LocalCropsSize,
		Backbone: backbone,
		DINO: ssl.DINO{Weight: c.DinoHead.LossWeight, Head: nn.HeadConfig{
			Hidden: c.DinoHead.HiddenDim, Bottleneck: c.DinoHead.BottleneckDim, Prototypes: c.DinoHead.OutDim, Layers: c.DinoHead.NLayers,
			WeightNorm: c.DinoHead.WeightNorm, FreezeGain: c.DinoHead.NormLastLayer,
		}},
		IBOT: ssl.IBOT{Weight: c.IBOT.LossWeight, Mask: mask.Settings{
			Probability: c.IBOT.MaskSampleProbability, Ratio: c.IBOT.MaskRatioMinMax, Exact: c.IBOT.MaskTarget == "exact",
		}},
		KoLeo: ssl.KoLeo{Weight: c.KoLeo.LossWeight},
		Gram: ssl.Gram{
			Weight: c.Gram.LossWeight, First: c.Gram.FirstUpdate, Every: c.Gram.UpdateFrequency, Times: c.Gram.MaxUpdates, RemoveNegative: c.Gram.RemoveNeg,
		},
		Targets: ssl.Targets{Sinkhorn: t.Centering == "sinkhorn_knopp", StudentTemp: t.StudentTemp, CentreMomentum: t.CenterMomentum},
		Schedules: ssl.Schedules{
			LR: optim.Cosine{
				Base: scaling.Scale(t.LR, batch), Final: scaling.Scale(t.MinLR, batch), Warmup: t.WarmupIterations, Total: t.MaxIterations,
			},
			WeightDecay:     optim.Cosine{Base: t.WeightDecay, Final: t.WeightDecayEnd, Total: t.MaxIterations},
			Momentum:        optim.Cosine{Base: t.MomentumTeacher, Final: t.FinalMomentumTeacher, Total: t.MaxIterations},
			TeacherTemp:     optim.Linear{Start: t.WarmupTeacherTemp, End: t.TeacherTemp, Warmup: t.WarmupTeacherTempIterations},
			FreezeLastLayer: t.FreezeLastLayer, LastLayer: lastLayer,
		},
		Optim: optim.Options{
			Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, Clip: clip, MaxNorm: t.ClipGrad, LayerDecay: o.LayerwiseDecay, PatchEmbedLR: o.PatchEmbedLRMult,
		},
		Watch: ssl.Watch{
			Every: c.Watch.Every, FeatureStdMin: c.Watch.FeatureStdMin, PrototypeEntropyMin: c.Watch.PrototypeEntropyMin, MaxNonFinite: c.Watch.MaxNonFinite,
		},
		FreezeBlocks: t.FreezeBackboneLayers, Recompute: t.GradientCheckpointing, MeasureEvery: t.LogEvery,
	}
	if t.IBOTSeparateHead && c.IBOT.LossWeight > 0 {
		s.IBOT.Head = &nn.HeadConfig{
			Hidden: c.IBOT.HiddenDim, Bottleneck: c.IBOT.BottleneckDim, Prototypes: c.IBOT.OutDim, Layers: c.IBOT.NLayers,
			WeightNorm: c.DinoHead.WeightNorm, FreezeGain: c.IBOT.NormLastLayer,
		}
	}
	return s
}
