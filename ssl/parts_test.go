package ssl

import (
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/tensor"
)

// everything is a recipe with every term, drop path, and 32 images a step.
func everything(sinkhorn, subset, separate bool) Settings {
	s := micro()
	s.Batch = 32
	s.Targets.Sinkhorn = sinkhorn
	s.Backbone.DropPath = nn.DropPathConfig{Rate: 0.3, Subset: subset}
	s.KoLeo.Weight = optim.Constant(0.1)
	s.Gram = Gram{Gram: loss.Gram{Weight: optim.Constant(0.5), RemoveNegative: true}}
	if separate {
		s.IBOT.Head = &nn.HeadConfig{Hidden: 10, Bottleneck: 5, Prototypes: 7, Layers: 2}
	}
	s.Terms = []loss.Spec{pull{Weight: optim.Constant(0.2)}}
	s.Schedules.FreezeLastLayer = 0
	s.Watch.Every = 0
	return s
}

// outcome is what a step leaves: losses, gradients and the state of the terms, by name.
func outcome(t *testing.T, tr *Trainer, m Metrics) map[string][]float64 {
	t.Helper()
	out := map[string][]float64{}
	for _, l := range m.Losses {
		out["loss "+l.Key] = []float64{l.Value}
	}
	add := func(name string, x *tensor.Tensor) {
		for i := range x.Len() {
			out[name] = append(out[name], x.At(i))
		}
	}
	for _, p := range tr.Student.parts() {
		for _, q := range p.params.All() {
			if g := q.Grad(); g != nil && g.Len() > 0 {
				add("gradient of "+p.name+" "+q.Name, g)
			}
		}
	}
	for _, x := range tr.terms {
		for _, n := range x.State() {
			add("state of "+n.Name, n.Tensor)
			if tr.Settings.Targets.Sinkhorn && n.Name != "pull" {
				// A constant in the potentials of Sinkhorn-Knopp changes no target.
				centre(out["state of "+n.Name])
			}
		}
	}
	return out
}

// centre subtracts the mean.
func centre(x []float64) {
	mean := 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for i := range x {
		x[i] -= mean
	}
}

// sameOutcome compares every tensor relative to its largest entry, gradients of nearly nothing (a key's bias) to the
// largest gradient.
func sameOutcome(t *testing.T, want, got map[string][]float64, limit float64) (worst float64) {
	t.Helper()
	largest := 0.0
	for name, x := range want {
		if name[:4] == "grad" {
			for _, v := range x {
				largest = max(largest, math.Abs(v))
			}
		}
	}
	for name, x := range want {
		y := got[name]
		if len(y) != len(x) {
			t.Errorf("%s: %d numbers, want %d", name, len(y), len(x))
			continue
		}
		size, diff := 0.0, 0.0
		for i, v := range x {
			size, diff = max(size, math.Abs(v)), max(diff, math.Abs(v-y[i]))
		}
		if name[:4] == "grad" {
			size = largest
		}
		if !(diff <= limit*size) {
			t.Errorf("%s: off by %.2g of %.2g", name, diff, size)
		}
		worst = max(worst, diff/size)
	}
	return worst
}

func recipesInParts() map[string]Settings {
	return map[string]Settings{
		"centring": everything(false, false, false), "sinkhorn, subset, two heads": everything(true, true, true),
		"sinkhorn": everything(true, false, false), "centring, subset": everything(false, true, false),
	}
}

// A step of 4 x 8 images is a step of 1 x 32: losses, gradients and centres.
func TestMicroBatches(t *testing.T) {
	for name, s := range recipesInParts() {
		for _, e := range []struct {
			name  string
			b     kernels.Backend
			dtype tensor.DType
			limit float64
		}{{"f32", newCPU(t, 2), tensor.F32, 1e-6}, {"f64", ref.New(), tensor.F64, 1e-13}} {
			t.Run(name+" "+e.name, func(t *testing.T) {
				var want map[string][]float64
				// In 32 parts some lose all their crops to drop path by subset.
				for _, parts := range []int{1, 4, 32} {
					s.MicroBatches = parts
					tr, err := newTrainer(e.b, e.dtype, s)
					if err != nil {
						t.Fatal(err)
					}
					tr.tape.A.Poison = true
					liven(tr)
					m, err := tr.Step(batches(&s, 0))
					if err != nil {
						t.Fatal(err)
					}
					got := outcome(t, tr, m)
					if want == nil {
						want = got
						continue
					}
					t.Logf("worst difference %.2g", sameOutcome(t, want, got, e.limit))
				}
			})
		}
	}
}

// Several steps of 4 x 8 images go where steps of 1 x 32 go.
func TestMicroBatchesOverSteps(t *testing.T) {
	s := everything(false, true, true)
	var want map[string][]float64
	for _, parts := range []int{1, 4} {
		s.MicroBatches = parts
		tr, err := newTrainer(ref.New(), tensor.F64, s)
		if err != nil {
			t.Fatal(err)
		}
		liven(tr)
		got := outcome(t, tr, train(t, tr, 3))
		if want == nil {
			want = got
			continue
		}
		t.Logf("worst difference %.2g", sameOutcome(t, want, got, 1e-9))
	}
}

// exchange is a stand-in for the collectives of several processes: it adds what as many trainers pass to it.
type exchange struct {
	mu      sync.Mutex
	cond    *sync.Cond
	ranks   int
	arrived int
	turn    int
	point   string
	sum     *tensor.Tensor
	points  map[string]int
}

func newExchange(ranks int) *exchange {
	e := &exchange{ranks: ranks, points: map[string]int{}}
	e.cond = sync.NewCond(&e.mu)
	return e
}

func (e *exchange) reduce(point string, x *tensor.Tensor) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.arrived == 0 {
		e.point, e.sum = point, tensor.Zeros(x.DType(), x.Shape()...)
		e.points[point]++
	}
	if e.point != point {
		panic(fmt.Sprintf("a process is at %s while another is at %s", point, e.point))
	}
	for i := range x.Len() {
		e.sum.Set(i, e.sum.At(i)+x.At(i))
	}
	e.arrived++
	turn, sum := e.turn, e.sum
	if e.arrived == e.ranks {
		e.arrived, e.turn = 0, e.turn+1
		e.cond.Broadcast()
	}
	for turn == e.turn {
		e.cond.Wait()
	}
	for i := range x.Len() {
		x.Set(i, sum.At(i))
	}
}

// Two processes of 16 images, each in one part or in two, make the step that one process makes of 32.
func TestRanks(t *testing.T) {
	for name, s := range recipesInParts() {
		for _, parts := range []int{1, 2} {
			t.Run(fmt.Sprint(name, " ", parts), func(t *testing.T) {
				whole, err := newTrainer(ref.New(), tensor.F64, s)
				if err != nil {
					t.Fatal(err)
				}
				liven(whole)
				batch := batches(&s, 0)
				m, err := whole.Step(batch)
				if err != nil {
					t.Fatal(err)
				}
				want := outcome(t, whole, m)
				const ranks = 2
				e := newExchange(ranks)
				var got [ranks]map[string][]float64
				var wait sync.WaitGroup
				for rank := range ranks {
					wait.Go(func() {
						r := s
						r.Batch, r.MicroBatches = s.Batch/ranks, parts
						r.Ranks = Ranks{Index: rank, Count: ranks, Reduce: e.reduce}
						tr, err := newTrainer(ref.New(), tensor.F64, r)
						if err != nil {
							t.Error(err)
							return
						}
						liven(tr)
						m, err := tr.Step(share(&s, batch, rank*r.Batch, r.Batch))
						if err != nil {
							t.Error(err)
							return
						}
						got[rank] = outcome(t, tr, m)
					})
				}
				wait.Wait()
				if t.Failed() {
					return
				}
				for rank := range ranks {
					sameOutcome(t, want, got[rank], 1e-12)
				}
				t.Logf("%d places of exchange", len(e.points))
			})
		}
	}
}

// share is the crops of images from to from+n of a batch.
func share(s *Settings, b Batch, from, n int) (out Batch) {
	for g, v := range s.Views {
		x := tensor.Zeros(tensor.F32, v.Count*n, s.Backbone.Channels, v.Height, v.Width)
		for c := range v.Count {
			copy(x.Rows(c*n, (c+1)*n).Bytes(), b.Views[g].Rows(c*s.Batch+from, c*s.Batch+from+n).Bytes())
		}
		out.Views = append(out.Views, x)
	}
	return out
}

// The masks of parts and of processes are those of the whole batch, crop by crop.
func TestMasksByPlace(t *testing.T) {
	s := everything(false, false, false)
	b := newCPU(t, 1)
	masks := func(s Settings) *Trainer {
		tr := trainer(t, b, s)
		tr.steps = 5
		tr.drawStep()
		return tr
	}
	whole := masks(s)
	cells := whole.draw.masks.GridH * whole.draw.masks.GridW
	s.Batch, s.MicroBatches = 16, 4
	for rank := range 2 {
		s.Ranks = Ranks{Index: rank, Count: 2}
		tr := masks(s)
		if tr.draw.masked != whole.draw.masked || tr.draw.masked == 0 {
			t.Errorf("rank %d: %d patches are masked in all, want %d", rank, tr.draw.masked, whole.draw.masked)
		}
		for j := range tr.draw.micro {
			m := &tr.draw.micro[j]
			for crop := range 2 * m.place.Images {
				place := crop/m.place.Images*32 + m.place.First + crop%m.place.Images
				for k := range cells {
					if m.mask[crop*cells+k] != whole.draw.mask[place*cells+k] {
						t.Fatalf("rank %d, part %d, crop %d: another mask than that of place %d", rank, j, crop, place)
					}
				}
			}
		}
	}
}

// A weight that is a schedule counts as it is at each step: the first step's learning rate is 0, so that the second sees
// the same student.
func TestScheduledWeights(t *testing.T) {
	s := everything(false, false, false)
	run := func(w func(base float64) optim.Schedule) Metrics {
		s.DINO.Weight, s.IBOT.Weight, s.KoLeo.Weight, s.Gram.Weight = w(1), w(0.7), w(0.1), w(0.5)
		s.Terms = []loss.Spec{pull{Weight: w(0.2)}}
		tr, err := newTrainer(ref.New(), tensor.F64, s)
		if err != nil {
			t.Fatal(err)
		}
		// The teacher stays where it is, apart from the student.
		tr.Settings.Schedules.Momentum = optim.Constant(1)
		liven(tr)
		return train(t, tr, 2)
	}
	plain := run(func(base float64) optim.Schedule { return optim.Constant(base) })
	rising := run(func(base float64) optim.Schedule { return optim.Linear{Start: base, End: 3 * base, Warmup: 2} })
	for _, l := range plain.Losses {
		near(t, l.Key, rising.Of(l.Key), 3*l.Value, 0, 1e-9)
		if l.Value == 0 {
			t.Errorf("%s is 0", l.Key)
		}
	}
}
