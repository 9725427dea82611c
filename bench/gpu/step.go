package main

import (
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/ssl/mask"
	"github.com/dino-mx/dmx/tensor"
)

// model is a vision transformer with the crops and heads of its DINOv2 step.
type model struct {
	name                            string
	dim, depth, heads, batch, steps int
	global, local, patch, locals    int
	hidden, bottleneck, prototypes  int
}

func findModel(name string) (model, error) {
	m := model{name: name, depth: 12, batch: 64, steps: 10, global: 224, local: 98, patch: 14, locals: 8, hidden: 2048, bottleneck: 256, prototypes: 65536}
	switch name {
	case "S":
		m.dim, m.heads = 384, 6
	case "B":
		m.dim, m.heads = 768, 12
	case "L":
		m.dim, m.heads, m.depth = 1024, 16, 24
	case "micro":
		m = model{name: name, dim: 32, depth: 1, heads: 1, batch: 2, steps: 1, global: 28, local: 14, patch: 7, locals: 2, hidden: 32, bottleneck: 32, prototypes: 64}
	default:
		return m, fmt.Errorf("-models %s: expected S, B or L", name)
	}
	return m, nil
}

// settings is the DINOv2 recipe with a shared head and centred targets, without drop path: the loop it is compared with
// would otherwise have to skip the same crops.
func (m model) settings() ssl.Settings {
	return ssl.Settings{
		Seed: 1, Batch: m.batch, Views: ssl.MultiCrop(m.global, m.locals, m.local), MeasureEvery: 10,
		Backbone: nn.ViTConfig{
			Family: nn.FamilyDINOv2, Channels: 3, PatchSize: m.patch, ImageSize: m.global, Dim: m.dim, Depth: m.depth, Heads: m.heads, MLPDim: 4 * m.dim,
			Act: kernels.GELU, NormEps: 1e-6, QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true,
			LayerScale: true, LayerScaleInit: 1e-5, MaskToken: true,
		},
		DINO:    ssl.DINO{Weight: optim.Constant(1), Head: nn.HeadConfig{Hidden: m.hidden, Bottleneck: m.bottleneck, Prototypes: m.prototypes, Layers: 3, WeightNorm: true}},
		IBOT:    ssl.IBOT{Weight: optim.Constant(1), Mask: mask.Settings{Probability: 0.5, Ratio: [2]float64{0.1, 0.5}}},
		KoLeo:   loss.KoLeo{Weight: optim.Constant(0.1)},
		Targets: loss.Targets{StudentTemp: 0.1, CentreMomentum: 0.9},
		Schedules: ssl.Schedules{
			LR: optim.Cosine{Base: 1e-3, Final: 1e-6, Warmup: 100, Total: 10000}, WeightDecay: optim.Cosine{Start: .04, Base: .04, Final: .4, Total: 10000},
			Momentum: optim.Cosine{Base: .992, Final: 1, Total: 10000}, TeacherTemp: optim.Linear{Start: .04, End: .07, Warmup: 1000},
		},
		Optim: optim.Options{Beta1: .9, Beta2: .999, Eps: 1e-8, Clip: optim.ClipPerModule, MaxNorm: 3},
		Watch: ssl.Watch{MaxNonFinite: 2},
	}
}

// noise is a batch of random pixels.
func (m model) noise(memory tensor.Allocator) (b ssl.Batch, err error) {
	draw := func(n, size int) *tensor.Tensor {
		x, e := tensor.New(memory, tensor.F32, n, 3, size, size)
		if e != nil {
			err = e
			return nil
		}
		r := tensor.NewRand(9, uint32(size), 0, 0)
		for i := range x.F32() {
			x.F32()[i] = float32(r.Norm())
		}
		return x
	}
	b = ssl.Batch{Views: []*tensor.Tensor{draw(2*m.batch, m.global), draw(m.locals*m.batch, m.local)}}
	return b, err
}

// trainer is our side of the step.
type trainer struct {
	gpu     *gpu
	trainer *ssl.Trainer
	batches [2]ssl.Batch // in page-locked memory; one is on its way to the device while the other is trained on
	done    int          // steps
	masked  []float64    // patches of each step
	free    int          // bytes of the card before the trainer was made
}

func (b *bench) newTrainer(m model) (*trainer, error) {
	g, err := b.open(versions{})
	if err != nil {
		return nil, err
	}
	t := &trainer{gpu: g}
	t.free, _ = g.driver.Memory()
	for i := range t.batches {
		if err == nil {
			t.batches[i], err = m.noise(g.backend.Pinned())
		}
	}
	var models *ssl.Models
	if err == nil {
		models, err = ssl.Build(g.backend, tensor.BF16, m.settings(), ssl.Sources{})
	}
	if err == nil {
		t.trainer, err = ssl.NewTrainer(models)
	}
	if err == nil {
		err = t.trainer.Stage(t.batches[0])
	}
	if err == nil {
		_, err = t.steps(5) // memory is in place, commands are recorded
	}
	if err != nil {
		g.close()
		return nil, err
	}
	return t, nil
}

// steps makes n steps and returns the seconds of one. The batch comes from host memory every time.
func (t *trainer) steps(n int) (float64, error) {
	start := time.Now()
	for range n {
		batch, next := t.batches[t.done%2], t.batches[(t.done+1)%2]
		if err := t.trainer.Stage(next); err != nil {
			return 0, err
		}
		m, err := t.trainer.Step(batch)
		if err != nil {
			return 0, err
		}
		t.done++
		t.masked = append(t.masked, float64(m.Masked))
	}
	err := t.gpu.backend.Sync()
	return time.Since(start).Seconds() / float64(n), err
}

// stepSide is one contestant's figures.
type stepSide struct {
	name      string
	process   *peer.Process // nil on our side
	seconds   []float64
	live, all float64 // bytes: tensors at the peak, and taken from the card
	flops     float64 // counted work of a step; 0 on the other side
}

// stepSection is one DINOv2 step against PyTorch loops.
func stepSection(b *bench, t *table) error {
	t.title = "## One DINOv2 step, bf16\n\n"
	t.printf("\nDINO, iBOT and KoLeo with a shared head, 65,536 prototypes, 2 x 224 and 8 x 98 pixels, batch 64, centred targets, no drop path; f32 master weights,\nclipping by module, AdamW, teacher average. The batch is copied from host memory in every step, metrics are read every 10 steps. Sides take\nturns of some steps each; figures are medians over %d turns. Memory: tensors at the peak, and what was taken from\nthe card. TFLOP/s: the counted work of a step over its time.\n\n", b.rounds)
	t.printf("| model | side | ms a step | img/s | tensors, MiB | from the card, MiB | TFLOP/s | dmx is faster by | dmx's memory |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n")
	// Compiling takes minutes, so its rows come when everything else has been measured.
	for _, way := range []string{"eager", "compiled"} {
		if way == "compiled" && !slices.Contains(b.sides, way) {
			continue
		}
		for _, name := range b.models {
			m, err := findModel(name)
			if err != nil {
				return err
			}
			var variants []string
			if slices.Contains(b.sides, way) {
				variants = []string{way + " split", way + " packed"}
			}
			sides, err := b.step(m, variants)
			if err != nil {
				log.Printf("ViT-%s/%d: %v", m.name, m.patch, err)
				t.printf("| ViT-%s/%d | %v |\n", m.name, m.patch, err)
				continue
			}
			if way == "compiled" && len(sides) == 1 {
				continue // no peer has started, and dmx alone is measured already
			}
			t.stepRows(m, sides)
		}
	}
	return nil
}

// stepRows writes a row for each contestant of one model; dmx is the first.
func (t *table) stepRows(m model, sides []*stepSide) {
	mine := sides[0]
	ours := peer.Median(mine.seconds)
	for i, s := range sides {
		v := peer.Median(s.seconds)
		row := fmt.Sprintf("| ViT-%s/%d | %s | %.1f | %.0f | %.0f | %.0f |", m.name, m.patch, s.name, 1e3*v, float64(m.batch)/v, s.live/(1<<20), s.all/(1<<20))
		share := ""
		if s.flops > 0 {
			share = fmt.Sprintf("%.0f", s.flops/v/1e12)
		}
		faster, smaller := "", ""
		if i > 0 {
			faster = fmt.Sprintf("%.2f x", v/ours)
		}
		if i > 0 && s.all > 0 { // PyTorch does not report its memory on a CPU
			smaller = fmt.Sprintf("%.2f x", mine.all/s.all)
		}
		t.printf("%s %s | %s | %s |\n", row, share, faster, smaller)
	}
}

// allSides are the contestants of the step section: ours, and PyTorch loops with a pass for each resolution (split) or all
// crops packed, eager or compiled.
var allSides = []string{"dmx", "eager", "compiled"}

// step lets dmx and some variants of the PyTorch loop take turns.
func (b *bench) step(m model, variants []string) ([]*stepSide, error) {
	ours, err := b.newTrainer(m)
	if err != nil {
		return nil, err
	}
	defer ours.gpu.close()
	sides := []*stepSide{{name: "dmx"}}
	free, _ := ours.gpu.driver.Memory()
	memory := ours.trainer.Memory()
	sides[0].live, sides[0].all = float64(memory.Peak+memory.State), float64(ours.free-free)
	masked := int(peer.Median(ours.masked))
	sides[0].flops = float64(ours.trainer.Settings.FLOPs(masked))
	for _, v := range variants {
		words := strings.Fields(v)
		p := b.startTorch(stepSource, words[0], words[1], m.spec(), fmt.Sprint(masked))
		if p == nil {
			continue
		}
		defer p.Close()
		// The first turn compiles, and tells how much memory a step takes.
		if _, err := prepare(p, "turn 1"); err != nil {
			log.Print(err)
			continue
		}
		sides = append(sides, &stepSide{name: p.Name, process: p})
	}
	for range b.rounds {
		for i := 0; i < len(sides); i++ {
			s := sides[i]
			seconds, err := s.turn(ours, m.steps)
			if err != nil && s.process == nil {
				return nil, err
			}
			if err != nil { // for example out of memory: the others go on
				log.Printf("%s is left out: %v", s.name, err)
				sides = slices.Delete(sides, i, i+1)
				i--
				continue
			}
			s.seconds = append(s.seconds, seconds)
		}
	}
	return sides, nil
}

// turn makes a step that is not counted and some that are, and returns the seconds of one.
func (s *stepSide) turn(ours *trainer, steps int) (seconds float64, err error) {
	if s.process == nil {
		if _, err := ours.steps(1); err != nil {
			return 0, err
		}
		return ours.steps(steps)
	}
	a, err := prepare(s.process, "turn %d", steps)
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscan(a, &seconds, &s.live, &s.all); err != nil {
		return 0, fmt.Errorf("%s: answered %q", s.name, a)
	}
	return seconds, nil
}

// spec is the model as the peer reads it.
func (m model) spec() string {
	return fmt.Sprintf("%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d", m.dim, m.depth, m.heads, m.batch, m.global, m.local, m.patch, m.locals, m.hidden, m.bottleneck, m.prototypes)
}
