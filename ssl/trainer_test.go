package ssl

import (
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/ssl/mask"
	"github.com/dino-mx/dmx/tensor"
)

// micro is a recipe with every loss but Gram, small enough for hundreds of steps.
func micro() Settings {
	return Settings{
		Seed: 3, Batch: 3, Views: MultiCrop(8, 2, 4),
		Backbone: nn.ViTConfig{
			Family: nn.FamilyDINOv2, Channels: 1, PatchSize: 2, ImageSize: 8, Dim: 8, Depth: 2, Heads: 2, MLPDim: 16,
			Act: kernels.GELU, NormEps: 1e-6, QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true,
			LayerScale: true, LayerScaleInit: 0.5, MaskToken: true,
		},
		DINO:    DINO{Weight: optim.Constant(1), Head: nn.HeadConfig{Hidden: 12, Bottleneck: 6, Prototypes: 10, Layers: 3, WeightNorm: true}},
		IBOT:    IBOT{Weight: optim.Constant(0.7), Mask: mask.Settings{Probability: 0.5, Ratio: [2]float64{0.1, 0.5}}},
		KoLeo:   loss.KoLeo{Weight: optim.Constant(0.1)},
		Targets: loss.Targets{StudentTemp: 0.1, CentreMomentum: 0.9},
		Schedules: Schedules{
			LR: optim.Cosine{Base: 2e-3, Final: 1e-5, Warmup: 5, Total: 60}, WeightDecay: optim.Cosine{Start: .04, Base: .04, Final: .4, Total: 60},
			Momentum: optim.Cosine{Base: .9, Final: 1, Total: 60}, TeacherTemp: optim.Linear{Start: .04, End: .07, Warmup: 10},
			FreezeLastLayer: 3, LastLayer: optim.LastLayerHeld,
		},
		Optim: optim.Options{Beta1: .9, Beta2: .999, Eps: 1e-8, Clip: optim.ClipPerModule, MaxNorm: 3},
		Watch: Watch{Every: 10, FeatureStdMin: .05, PrototypeEntropyMin: .25, MaxNonFinite: 2},
	}
}

// batches makes reproducible noise images, a different batch for each step.
func batches(s *Settings, step int) Batch {
	draw := func(n, size int, purpose uint32) *tensor.Tensor {
		x := tensor.Zeros(tensor.F32, n, s.Backbone.Channels, size, size)
		r := tensor.NewRand(99, uint32(step), purpose, 7)
		for i := range x.F32() {
			x.F32()[i] = float32(r.Norm())
		}
		return x
	}
	var b Batch
	for i, v := range s.Views {
		b.Views = append(b.Views, draw(v.Count*s.Batch, v.Height, uint32(i)))
	}
	return b
}

// newTrainer makes a trainer of random weights.
func newTrainer(b kernels.Backend, dtype tensor.DType, s Settings) (*Trainer, error) {
	m, err := Build(b, dtype, s, Sources{})
	if err != nil {
		return nil, err
	}
	return NewTrainer(m)
}

func newCPU(t testing.TB, threads int) *cpu.Backend {
	b := cpu.New(cpu.Options{Threads: threads})
	t.Cleanup(b.Close)
	return b
}

func TestSmoke(t *testing.T) {
	s := micro()
	tr, err := newTrainer(newCPU(t, 1), tensor.F32, s)
	if err != nil {
		t.Fatal(err)
	}
	tr.tape.A.Poison = true
	for i := range 30 {
		m, err := tr.Step(batches(&s, i))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", m)
	}
}
