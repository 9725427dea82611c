package check

import (
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/ssl/mask"
	"github.com/dino-mx/dmx/tensor"
)

// scale is a size of DINOv2: DINO, iBOT, KoLeo, Sinkhorn targets, LayerScale.
type scale struct {
	batch, locals, global, local, patch   int
	dim, depth, heads, hidden, bottleneck int
	prototypes                            int
}

var (
	micro = scale{batch: 2, locals: 1, global: 8, local: 4, patch: 2, dim: 32, depth: 1, heads: 1, hidden: 32, bottleneck: 32, prototypes: 64}
	// small has the widths of ViT-S/14 and its crops, fewer blocks and prototypes.
	small = scale{batch: 4, locals: 4, global: 224, local: 98, patch: 14, dim: 384, depth: 3, heads: 6, hidden: 512, bottleneck: 256, prototypes: 8192}
)

func (c scale) settings() ssl.Settings {
	return ssl.Settings{
		Seed: 5, Batch: c.batch, Views: ssl.MultiCrop(c.global, c.locals, c.local),
		Backbone: nn.ViTConfig{
			Family: nn.FamilyDINOv2, Channels: 3, PatchSize: c.patch, ImageSize: c.global, Dim: c.dim, Depth: c.depth, Heads: c.heads, MLPDim: 4 * c.dim,
			Act: kernels.GELU, NormEps: 1e-6, QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true,
			LayerScale: true, LayerScaleInit: 0.5, MaskToken: true,
		},
		DINO:    ssl.DINO{Weight: optim.Constant(1), Head: nn.HeadConfig{Hidden: c.hidden, Bottleneck: c.bottleneck, Prototypes: c.prototypes, Layers: 3, WeightNorm: true}},
		IBOT:    ssl.IBOT{Weight: optim.Constant(1), Mask: mask.Settings{Probability: 0.5, Ratio: [2]float64{0.1, 0.5}}},
		KoLeo:   loss.KoLeo{Weight: optim.Constant(0.1)},
		Targets: loss.Targets{Sinkhorn: true, StudentTemp: 0.1, CentreMomentum: 0.9},
		Schedules: ssl.Schedules{
			LR: optim.Cosine{Base: 1e-3, Final: 1e-5, Warmup: 5, Total: 60}, WeightDecay: optim.Cosine{Start: .04, Base: .04, Final: .4, Total: 60},
			Momentum: optim.Cosine{Base: .9, Final: 1, Total: 60}, TeacherTemp: optim.Linear{Start: .04, End: .07, Warmup: 10},
		},
		Optim: optim.Options{Beta1: .9, Beta2: .999, Eps: 1e-8, Clip: optim.ClipPerModule, MaxNorm: 3},
		Watch: ssl.Watch{MaxNonFinite: 2},
	}
}

// noise is a batch of random pixels, another for each step.
func noise(s *ssl.Settings, step int) ssl.Batch {
	draw := func(n, size int) *tensor.Tensor {
		x := tensor.Zeros(tensor.F32, n, s.Backbone.Channels, size, size)
		r := tensor.NewRand(11, uint32(step), uint32(size), 0)
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

var lossNames = []string{"loss", "dino global", "dino local", "ibot", "koleo"}

// train makes some steps and returns the losses of each.
func train(t *testing.T, b kernels.Backend, dtype tensor.DType, s ssl.Settings, steps int) [][]float64 {
	t.Helper()
	models, err := ssl.Build(b, dtype, s, ssl.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := ssl.NewTrainer(models)
	if err != nil {
		t.Fatal(err)
	}
	var losses [][]float64
	for i := range steps {
		m, err := tr.Step(noise(&s, i))
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, []float64{m.Loss, m.Of("dino_global"), m.Of("dino_local"), m.Of("ibot"), m.Of("koleo")})
	}
	return losses
}

// Five steps of DINOv2 on the device against the CPU: the losses differ from those of an f32 run by at most twice what
// a bf16 run on the CPU differs.
func TestTrainerAgainstCPU(t *testing.T) {
	const steps = 5
	for name, c := range map[string]scale{"micro": micro, "small": small} {
		if c == small && !real() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s := c.settings()
			host := cpu.New(cpu.Options{})
			defer host.Close()
			exact, plain := train(t, host, tensor.F32, s, steps), train(t, host, tensor.BF16, s, steps)
			got := train(t, onDevice(t, cuda.Versions{}), tensor.BF16, s, steps)
			for part, name := range lossNames {
				// Over all steps: a single difference may vanish by chance.
				var onCPU, onGPU float64
				for i := range steps {
					onCPU = max(onCPU, math.Abs(plain[i][part]-exact[i][part]))
					onGPU = max(onGPU, math.Abs(got[i][part]-exact[i][part]))
				}
				t.Logf("%-11s f32 on the CPU %.5f, bf16 on the CPU is off by %.2g, bf16 on %s by %.2g", name, exact[steps-1][part], onCPU, *device, onGPU)
				if !(onGPU <= 2*onCPU) {
					t.Errorf("%s: %s is off f32 by %g, bf16 on the CPU by %g", name, *device, onGPU, onCPU)
				}
			}
		})
	}
}

// Two trainers on the device make the same bits.
func TestTrainerRepeats(t *testing.T) {
	c, steps := micro, 2
	if real() {
		c, steps = small, 10
	}
	first := train(t, onDevice(t, cuda.Versions{}), tensor.BF16, c.settings(), steps)
	second := train(t, onDevice(t, cuda.Versions{}), tensor.BF16, c.settings(), steps)
	for i := range steps {
		for part, name := range lossNames {
			if math.Float64bits(first[i][part]) != math.Float64bits(second[i][part]) {
				t.Errorf("step %d: %s is %v, then %v", i, name, first[i][part], second[i][part])
			}
		}
	}
}
