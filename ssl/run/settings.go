package run

import (
	"errors"

	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/ssl/mask"
)

// localBatch returns the number of images of a step on this rank. There is one rank.
func localBatch(c *config.Config) int {
	if c.Train.BatchSizePerGPU > 0 {
		return c.Train.BatchSizePerGPU
	}
	return c.Train.GlobalBatchSize
}

// settings returns the recipe of a configuration for a backbone. The error names a key whose word is not known.
func settings(c *config.Config, backbone nn.ViTConfig) (*ssl.Settings, error) {
	t, o := &c.Train, &c.Optim
	batch := localBatch(c)
	scaling, err1 := lrScaling.value(o.LRScaling)
	clip, err2 := clipScope.value(o.ClipScope)
	lastLayer, err3 := lastLayerFreeze.value(o.LastLayerFreeze)
	sinkhorn, err4 := centering.value(t.Centering)
	exact, err5 := maskTarget.value(c.IBOT.MaskTarget)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	s := &ssl.Settings{
		Seed: uint64(t.Seed), Batch: batch, Views: viewSpecs(&c.Crops), Backbone: backbone,
		DINO: ssl.DINO{Weight: optim.Constant(c.DinoHead.LossWeight), Head: nn.HeadConfig{
			Hidden: c.DinoHead.HiddenDim, Bottleneck: c.DinoHead.BottleneckDim, Prototypes: c.DinoHead.OutDim, Layers: c.DinoHead.NLayers,
			WeightNorm: c.DinoHead.WeightNorm, FreezeGain: c.DinoHead.NormLastLayer,
		}},
		IBOT: ssl.IBOT{Weight: optim.Constant(c.IBOT.LossWeight), Mask: mask.Settings{
			Probability: c.IBOT.MaskSampleProbability, Ratio: c.IBOT.MaskRatioMinMax, Exact: exact,
		}},
		KoLeo: loss.KoLeo{Weight: optim.Constant(c.KoLeo.LossWeight)},
		Gram: ssl.Gram{
			Gram:     loss.Gram{Weight: optim.Constant(c.Gram.LossWeight), RemoveNegative: c.Gram.RemoveNeg},
			Snapshot: ssl.Snapshot{First: c.Gram.FirstUpdate, Every: c.Gram.UpdateFrequency, Times: c.Gram.MaxUpdates},
		},
		Targets: loss.Targets{Sinkhorn: sinkhorn, StudentTemp: t.StudentTemp, CentreMomentum: t.CenterMomentum},
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
	return s, nil
}
