package ssl

import (
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/tensor"
)

// TestThreadsSameBits: one, two and four threads end at the same bits.
func TestThreadsSameBits(t *testing.T) {
	for name, s := range recipes() {
		t.Run(name, func(t *testing.T) {
			var want map[string][]byte
			for _, n := range []int{1, 2, 4} {
				tr := trainer(t, newCPU(t, n), s)
				train(t, tr, 6)
				got := saved(t, tr)
				if want == nil {
					want = got
				}
				sameState(t, want, got)
			}
		})
	}
}

// TestChunkedTrainer: a trainer whose losses go through many chunks follows the one that has all logits at once.
func TestChunkedTrainer(t *testing.T) {
	b := newCPU(t, 2)
	for name, s := range recipes() {
		t.Run(name, func(t *testing.T) {
			s.Watch.Every = 0
			one := trainer(t, b, s)
			chunkBytes = 1
			many := trainer(t, b, s)
			chunkBytes = loss.DefaultChunkBytes
			for i := range 5 {
				x, err := one.Step(batches(&s, i))
				if err != nil {
					t.Fatal(err)
				}
				y, err := many.Step(batches(&s, i))
				if err != nil {
					t.Fatal(err)
				}
				// Sums in another order; rounding grows over the steps.
				near(t, "loss", y.Loss, x.Loss, 0.1, 2e-5)
			}
		})
	}
}

// TestSteadyState: after the first steps a step takes no tensor memory and little of Go's heap, whatever the number
// of masked patches.
func TestSteadyState(t *testing.T) {
	parts := recipes()["dinov3"]
	parts.MicroBatches = 4
	list := recipes()
	list["dinov3 in four parts"] = parts
	for name, s := range list {
		t.Run(name, func(t *testing.T) {
			// Wide enough that the arena is more than its smallest slab.
			s.Backbone.DropPath = nn.DropPathConfig{}
			s.Views = MultiCrop(12, 2, 4)
			s.Batch, s.Backbone.Dim, s.Backbone.MLPDim, s.DINO.Head.Hidden = 8, 64, 128, 256
			s.IBOT.Mask.Ratio = [2]float64{.1, .6}
			b := newCPU(t, 1)
			alloc := &counting{Allocator: b.Allocator()}
			tr := trainer(t, b, s)
			tr.tape.A = tensor.NewArena(alloc)
			train(t, tr, 8) // the Gram teacher is taken, and the last layer no longer frozen
			var batch []Batch
			for i := range 20 {
				batch = append(batch, batches(&s, 8+i))
			}
			before, reserved := alloc.calls, tr.tape.A.Reserved()
			var m0, m1 runtime.MemStats
			runtime.ReadMemStats(&m0)
			for _, x := range batch {
				if _, err := tr.Step(x); err != nil {
					t.Fatal(err)
				}
			}
			runtime.ReadMemStats(&m1)
			if n := alloc.calls - before; n != 0 || tr.tape.A.Reserved() != reserved {
				t.Errorf("%d tensor allocations in the steady state; %d bytes reserved, %d before", n, tr.tape.A.Reserved(), reserved)
			}
			perStep := (m1.TotalAlloc - m0.TotalAlloc) / uint64(len(batch))
			t.Logf("%d bytes of heap a step; arena peak %d, reserved %d", perStep, tr.Memory().Peak, tr.Memory().Reserved)
			if perStep > 1<<20 {
				t.Errorf("%d bytes of heap a step", perStep)
			}
		})
	}
}

// counting counts what an allocator hands out.
type counting struct {
	tensor.Allocator
	calls int
}

func (c *counting) Alloc(n int) (*tensor.Buffer, error) { c.calls++; return c.Allocator.Alloc(n) }

// TestTeacherFollows: the teacher starts as an exact copy, and the first step's momentum moves it.
func TestTeacherFollows(t *testing.T) {
	s := micro()
	tr := trainer(t, newCPU(t, 1), s)
	for i, p := range tr.Student.parts() {
		for j, q := range p.params.All() {
			r := tr.Teacher.parts()[i].params.All()[j]
			for k := range q.Value().Len() {
				if q.Value().At(k) != r.Value().At(k) {
					t.Fatalf("%s: the teacher does not start as a copy", q.Name)
				}
			}
		}
	}
	q, r := tr.Student.Backbone.Patch, tr.Teacher.Backbone.Patch
	train(t, tr, 1) // learning rate 0
	before := r.W.Master.At(0)
	m := train(t, tr, 2)
	want := m.Momentum*before + (1-m.Momentum)*q.W.Master.At(0)
	near(t, "teacher weight", r.W.Master.At(0), want, 0, 1e-6)
}

// TestMaskedPixelsDoNotMatter: the student's result at a masked patch depends on the mask token, not on the pixels
// underneath.
func TestMaskedPixelsDoNotMatter(t *testing.T) {
	s := micro()
	b := newCPU(t, 1)
	loss := func(change func(tr *Trainer, x Batch)) float64 {
		tr := trainer(t, b, s)
		x := batches(&s, 0)
		m := &tr.draw.micro[0]
		tr.load(m, x)
		tr.begin(nil)
		change(tr, x)
		tokens := tr.Student.Backbone.Forward(tr.tape, tr.plan.student, m.groups, nn.Options{Rows: m.rows}).Tokens
		sum := 0.0
		for i := range tokens.Value.Len() {
			sum += math.Sin(float64(i)) * tokens.Value.At(i)
		}
		tr.reset()
		return sum
	}
	same := loss(func(*Trainer, Batch) {})
	pixels := loss(func(tr *Trainer, x Batch) {
		n, p := s.Views[0].Height, s.Backbone.PatchSize
		g := n / p
		for i, masked := range tr.draw.micro[0].mask {
			if !masked {
				continue
			}
			crop, y, c := i/(g*g), i%(g*g)/g*p, i%g*p
			x.Views[0].F32()[crop*n*n+y*n+c] += 5
		}
	})
	token := loss(func(tr *Trainer, x Batch) {
		w := tr.Student.Backbone.MaskToken.Master
		w.Set(0, w.At(0)+1)
		tr.Student.Backbone.Params.Sync(b)
	})
	if same != pixels {
		t.Errorf("masked pixels change the student: %v, %v", same, pixels)
	}
	if same == token {
		t.Error("the mask token changes nothing")
	}
}

// TestNonFinite: a step with NaN images is skipped and leaves weights, moments, teacher and centres alone; the run
// goes on; too many in a row stop it with a diagnosis.
func TestNonFinite(t *testing.T) {
	for name, s := range recipes() {
		t.Run(name, func(t *testing.T) {
			b := newCPU(t, 1)
			tr := trainer(t, b, s)
			train(t, tr, 5)
			before := saved(t, tr)
			poisoned := func(step int) Batch {
				x := batches(&s, step)
				x.Views[0].F32()[3] = float32(math.NaN())
				return x
			}
			m, err := tr.Step(poisoned(5))
			if err != nil || !m.Skipped || tr.Steps() != 6 {
				t.Fatalf("skipped %v, error %v, step %d", m.Skipped, err, tr.Steps())
			}
			after := saved(t, tr)
			for _, f := range []string{studentFile, teacherFile, optimizerFile} {
				if string(before[f]) != string(after[f]) {
					t.Errorf("%s changed", f)
				}
			}
			if !s.Targets.Sinkhorn && string(before[centresFile]) != string(after[centresFile]) {
				t.Error("the centres changed")
			}
			if m := train(t, tr, 7); m.Skipped || tr.bad != 0 {
				t.Error("a good step is skipped")
			}
			for i := range s.Watch.MaxNonFinite {
				if _, err := tr.Step(poisoned(7 + i)); err != nil {
					t.Fatal(err)
				}
			}
			_, err = tr.Step(poisoned(20))
			bad, ok := err.(*NonFiniteError)
			if !ok || bad.Count != s.Watch.MaxNonFinite+1 || !strings.Contains(err.Error(), "images themselves") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestNonFiniteWeights names the parameter.
func TestNonFiniteWeights(t *testing.T) {
	s := micro()
	s.Watch.MaxNonFinite = 0
	tr := trainer(t, newCPU(t, 1), s)
	tr.Student.Backbone.CLS.Master.Set(0, math.Inf(1))
	_, err := tr.Step(batches(&s, 0))
	if err == nil || !strings.Contains(err.Error(), "embeddings.cls_token") {
		t.Errorf("error %v", err)
	}
}

func TestBatchErrors(t *testing.T) {
	s := micro()
	tr := trainer(t, newCPU(t, 1), s)
	for _, c := range []struct {
		name   string
		change func(*Batch)
		want   string
	}{
		{"globals missing", func(b *Batch) { b.Views[0] = nil }, "view global"},
		{"globals of another size", func(b *Batch) { b.Views[0] = tensor.Zeros(tensor.F32, 6, 1, 8, 10) }, "f32[6 1 8 8]"},
		{"locals missing", func(b *Batch) { b.Views = b.Views[:1] }, "1 kinds of views; the trainer was made for 2"},
	} {
		b := batches(&s, 0)
		c.change(&b)
		if _, err := tr.Step(b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v", c.name, err)
		}
		if tr.Steps() != 0 {
			t.Fatal("a bad batch counts as a step")
		}
	}
}

// TestOutOfMemory becomes an error, and the trainer can be used afterwards.
func TestOutOfMemory(t *testing.T) {
	s := micro()
	b := newCPU(t, 1)
	tr := trainer(t, b, s)
	limit := &limited{Allocator: b.Allocator(), left: 64 << 10}
	tr.tape.A = tensor.NewArena(limit)
	_, err := tr.Step(batches(&s, 0))
	if err == nil || !strings.Contains(err.Error(), "out of memory") {
		t.Fatalf("error %v", err)
	}
	limit.left += 1 << 30
	train(t, tr, 2)
}

// limited is a device with little memory.
type limited struct {
	tensor.Allocator
	left int
}

func (l *limited) Alloc(n int) (*tensor.Buffer, error) {
	if n > l.left {
		return nil, errFull
	}
	l.left -= n
	return l.Allocator.Alloc(n)
}

func (l *limited) Free(b *tensor.Buffer) {
	l.left += b.Size
	l.Allocator.Free(b)
}

var errFull = errors.New("full")

func TestWatch(t *testing.T) {
	w := Watch{FeatureStdMin: .05, PrototypeEntropyMin: .25}
	for _, c := range []struct {
		name     string
		m        Metrics
		sinkhorn bool
		want     []string
	}{
		{"healthy", Metrics{Health: loss.Health{FeatureStd: .6, PrototypeEntropy: .8, TargetEntropy: .4, KL: .5}}, false, nil},
		{"one prototype", Metrics{Health: loss.Health{FeatureStd: .6, PrototypeEntropy: .1, TargetEntropy: .1, KL: .5}}, false, []string{"few prototypes"}},
		{"one prototype under Sinkhorn", Metrics{Health: loss.Health{FeatureStd: .6, PrototypeEntropy: .1}}, true, []string{"only within a batch"}},
		{"uniform", Metrics{Health: loss.Health{FeatureStd: .6, PrototypeEntropy: 1, TargetEntropy: 1, KL: 0}}, false, []string{"uniform"}},
		{"features", Metrics{Health: loss.Health{FeatureStd: .01, PrototypeEntropy: .8, TargetEntropy: .4, KL: .5}}, false, []string{"same feature"}},
		{"everything", Metrics{Health: loss.Health{FeatureStd: .01, PrototypeEntropy: .1}}, false, []string{"few prototypes", "same feature"}},
	} {
		w.judge(&c.m, c.sinkhorn)
		if len(c.m.Collapses) != len(c.want) {
			t.Errorf("%s: warnings %q", c.name, c.m.Collapses)
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(c.m.Collapses[i].String(), want) {
				t.Errorf("%s: warning %q does not say %q", c.name, c.m.Collapses[i], want)
			}
		}
	}
}

// TestWatchedNumbers checks the watched quantities against their definitions, computed on the host from what the
// teacher gives.
func TestWatchedNumbers(t *testing.T) {
	b := newCPU(t, 1)
	s := micro()
	tr := trainer(t, b, s)
	liven(tr)
	batch := batches(&s, 0)
	m, err := tr.Step(batch)
	if err != nil || !m.Watched {
		t.Fatal(m, err)
	}
	// The teacher has moved since: go back by asking a trainer that has not made the step.
	tr = trainer(t, b, s)
	liven(tr)
	micro := &tr.draw.micro[0]
	tr.load(micro, batch)
	tr.begin(nil)
	tr.forwardTeacher(micro, nil)
	target := tr.teacherCLS(0, tr.targets.cls.Dim(0))
	prototypes := target.Prototypes()
	k, width := s.DINO.Head.Prototypes, s.DINO.Head.Bottleneck
	use, single := make([]float64, k), 0.0
	rows := target.Features.Dim(0)
	for r := range rows {
		p, sum := make([]float64, k), 0.0
		for j := range k {
			z := 0.0
			for c := range width {
				z += target.Features.At(r*width+c) * prototypes.At(j*width+c)
			}
			p[j] = math.Exp(z / m.TeacherTemp)
			sum += p[j]
		}
		for j := range k {
			p[j] /= sum
			use[j] += p[j] / float64(rows)
			if p[j] > 0 {
				single -= p[j] * math.Log(p[j]) / float64(rows)
			}
		}
	}
	mean := 0.0
	for _, q := range use {
		if q > 0 {
			mean -= q * math.Log(q)
		}
	}
	near(t, "prototype entropy", m.PrototypeEntropy, mean/math.Log(float64(k)), .01, 1e-4)
	near(t, "target entropy", m.TargetEntropy, single/math.Log(float64(k)), .01, 1e-4)
	near(t, "KL", m.KL, m.Of("dino_global")+m.Of("dino_local")-single, .01, 1e-3)
	tr.reset()
}

// TestFLOPs holds the count to published or independently counted figures of an image's training step.
func TestFLOPs(t *testing.T) {
	for _, c := range []struct {
		name         string
		dim, patch   int
		local        int
		masked, want float64 // patches and GFLOP of an image
	}{
		{"DINO ViT-S/16", 384, 16, 96, 0, 114},
		{"DINO ViT-B/16", 768, 16, 96, 0, 436},
		{"DINOv2 ViT-S/14", 384, 14, 98, .3 * 256, 166},
		{"DINOv2 ViT-B/14", 768, 14, 98, .3 * 256, 593},
	} {
		s := Settings{Batch: 10, Views: MultiCrop(224, 8, c.local),
			Backbone: nn.ViTConfig{Channels: 3, PatchSize: c.patch, Dim: c.dim, Depth: 12, Heads: c.dim / 64, MLPDim: 4 * c.dim},
			DINO:     DINO{Weight: optim.Constant(1), Head: nn.HeadConfig{Hidden: 2048, Bottleneck: 256, Prototypes: 65536, Layers: 3}}}
		if c.masked > 0 {
			s.IBOT.Weight = optim.Constant(1)
		}
		near(t, c.name+": GFLOP an image", float64(s.FLOPs(int(10*c.masked)))/10e9, c.want, 0, 0.01)
	}
}
