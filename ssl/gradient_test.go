package ssl

import (
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/tensor"
)

// TestGradients holds the gradient of the whole objective, backbone, heads and every loss, to differences of its
// value in float64.
func TestGradients(t *testing.T) {
	for name, s := range recipes() {
		t.Run(name, func(t *testing.T) {
			// Small enough for hundreds of evaluations by the oracle.
			s.Batch, s.Views = 2, MultiCrop(8, 1, 4)
			s.Gram.Snapshot.First = 0
			s.KoLeo.Weight = optim.Constant(0.1)
			tr, err := newTrainer(ref.New(), tensor.F64, s)
			if err != nil {
				t.Fatal(err)
			}
			tr.tape.A.Poison = true
			liven(tr)
			batch := batches(&s, 0)
			value := func() float64 {
				evaluate(tr, batch)
				tr.reset()
				sum := 0.0
				for i := range tr.losses.Len() {
					sum += tr.losses.At(i)
				}
				return sum
			}
			evaluate(tr, batch)
			for _, x := range tr.terms {
				for i, part := range x.parts {
					if tr.losses.At(x.lo+i) == 0 {
						t.Errorf("the %s is 0", part.Title)
					}
				}
			}
			tr.tape.Backward()
			grads := map[string][]float64{}
			for _, p := range tr.Student.parts() {
				p.params.FillMissing(tr.backend)
				for _, q := range p.params.All() {
					if !q.Frozen && q.Shape.Len() > 0 {
						grads[q.Name] = append([]float64(nil), q.Grad().F64()...)
					}
				}
			}
			tr.reset()
			worst := 0.0
			n := 0
			for _, p := range tr.Student.parts() {
				for _, q := range p.params.All() {
					g, ok := grads[q.Name]
					if !ok {
						continue
					}
					x := q.Value().F64()
					step := max(len(x)/3, 1)
					diff, size := 0.0, 0.0
					for i := n % step; i < len(x); i += step {
						keep := x[i]
						at := func(h float64) float64 { x[i] = keep + h; return value() }
						const h = 2e-4
						numeric := (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h)
						x[i] = keep
						diff = max(diff, math.Abs(numeric-g[i]))
						size = max(size, math.Abs(numeric), math.Abs(g[i]))
					}
					n++
					// Where the largest gradient is below 1e-3 the difference of values near 1 has no more digits.
					if rel := diff / max(size, 1e-3); rel > 1e-6 || math.IsNaN(diff) {
						t.Errorf("%s: off by %.2g of %.2g", q.Name, diff, size)
					} else {
						worst = max(worst, rel)
					}
				}
			}
			t.Logf("%d parameters, worst relative error %.1g", n, worst)
		})
	}
}

// evaluate carries out a step up to the student's losses; the tape is left as they wrote it.
func evaluate(tr *Trainer, batch Batch) {
	// Soft targets: every prototype's gradient is of a size that differences can resolve.
	r := rates{teacherTemp: 0.2}
	m := &tr.draw.micro[0]
	tr.load(m, batch)
	tr.begin(nil)
	tr.forwardTeacher(m, nil)
	tr.prepare(r)
	tr.forwardStudent(m, r, nil)
}

// TestGradientsF32 holds the gradient that the CPU backend computes in f32 to the oracle's in float64, which
// TestGradients holds to differences: every parameter of backbone and heads, relative to its largest gradient.
func TestGradientsF32(t *testing.T) {
	for name, s := range recipes() {
		t.Run(name, func(t *testing.T) {
			s.Gram.Snapshot.First = 0
			s.KoLeo.Weight = optim.Constant(0.1)
			gradients := func(tr *Trainer) (all [][]float64, names []string) {
				liven(tr)
				evaluate(tr, batches(&s, 0))
				tr.tape.Backward()
				for _, p := range tr.Student.parts() {
					p.params.FillMissing(tr.backend)
					for _, q := range p.params.All() {
						if q.Frozen || q.Shape.Len() == 0 {
							continue
						}
						g := make([]float64, q.Grad().Len())
						for i := range g {
							g[i] = q.Grad().At(i)
						}
						all, names = append(all, g), append(names, q.Name)
					}
				}
				tr.reset()
				return all, names
			}
			exact, err := newTrainer(ref.New(), tensor.F64, s)
			if err != nil {
				t.Fatal(err)
			}
			want, names := gradients(exact)
			got, _ := gradients(trainer(t, newCPU(t, 2), s))
			largest, worst := 0.0, 0.0
			for _, w := range want {
				for _, v := range w {
					largest = max(largest, math.Abs(v))
				}
			}
			for i, w := range want {
				diff, size := 0.0, 0.0
				for j := range w {
					diff, size = max(diff, math.Abs(got[i][j]-w[j])), max(size, math.Abs(w[j]))
				}
				// Softmax does not see a constant in the keys: their bias has no gradient but rounding errors.
				if size < 1e-12*largest {
					size = largest
				}
				if !(diff <= 1e-3*size) {
					t.Errorf("%s: off by %.2g of %.2g", names[i], diff, size)
				}
				worst = max(worst, diff/size)
			}
			t.Logf("%d parameters, worst relative error %.1g", len(want), worst)
		})
	}
}

// liven moves student and teacher away from their initial values, where tokens and LayerScale make some gradients
// vanish, and apart from each other.
func liven(tr *Trainer) {
	r := tensor.NewRand(8, 0, 0, 0)
	for _, n := range []*Network{tr.Student, tr.Teacher.Network} {
		for _, p := range n.parts() {
			for _, q := range p.params.All() {
				x := q.Value()
				for i := range x.Len() {
					x.Set(i, x.At(i)+0.2*r.Norm())
				}
			}
			p.params.Sync(tr.backend)
		}
	}
}
