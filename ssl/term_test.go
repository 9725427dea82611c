package ssl

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/tensor"
)

// pull is a term that exists in this file alone: it pulls the student's CLS tokens to a point that follows the number of
// its steps, and so has a state.
type pull struct {
	Weight optim.Schedule
	Broken bool // report a loss that is not a number
}

type pullTerm struct {
	pull
	env   loss.Env
	point *tensor.Tensor // [D]
}

func (p pull) New(e loss.Env) (loss.Term, error) {
	point, err := tensor.New(e.Backend.Allocator(), e.DType, e.Dim)
	if err != nil {
		return nil, err
	}
	e.Backend.Fill(point, 0.5)
	return &pullTerm{p, e, point}, nil
}

func (p pull) Cost(e *loss.Env, _ int) loss.Cost { return loss.Cost{FLOPs: 1234, Bytes: 1 << 30} }

func (p *pullTerm) Parts() []loss.Part  { return []loss.Part{{Key: "pull", Title: "pull loss"}} }
func (p *pullTerm) Reads() loss.Reads   { return loss.Reads{Student: loss.CLS} }
func (p *pullTerm) Prepare(*loss.Batch) {}

func (p *pullTerm) Backward(in *loss.Inputs) {
	t, x := in.Tape, in.CLS
	n, d := x.Dim(0), x.Dim(1)
	target := t.A.New(t.DType, n, d)
	for i := range n {
		t.B.Copy(target.Rows(i, i+1).Reshape(d), p.point)
	}
	one, dx := t.A.New(t.StatType(), 1), t.A.New(t.DType, n, d)
	share := float64(in.Place.Images) / float64(in.Place.Total)
	t.B.MSE(one, dx, x.Value, target, p.Weight.At(in.Step.Index)*share)
	t.B.Sum(in.Loss, one, 1, true)
	if p.Broken {
		t.B.Fill(in.Loss, math.NaN())
	}
	dst := t.ZeroedGradBuffer(x)
	t.B.Axpy(dst, 1, dx)
	for _, y := range []*tensor.Tensor{dx, one, target} {
		t.A.Free(y)
	}
}

func (p *pullTerm) Update(*tensor.Tensor) { p.env.Backend.Scale(p.point, 0.9) }

func (p *pullTerm) State() []loss.Named { return []loss.Named{{Name: "pull", Tensor: p.point}} }

// A term that only this file has trains, is reported, resumes, is counted, and is named when it is not finite.
func TestTermOfOneFile(t *testing.T) {
	for name, s := range recipes() {
		t.Run(name, func(t *testing.T) {
			b := newCPU(t, 2)
			plain := s
			s.Terms = []loss.Spec{pull{Weight: optim.Constant(0.3)}}
			with, without := trainer(t, b, s), trainer(t, b, plain)
			m := train(t, with, 7)
			if o := train(t, without, 7); o.Norm == m.Norm {
				t.Error("the term changes nothing")
			}
			if v := m.Of("pull"); v <= 0 || !slices.ContainsFunc(m.Losses, func(l PartLoss) bool { return l.Key == "pull" }) {
				t.Errorf("losses %+v", m.Losses)
			}
			if want := without.Objective() + " + pull"; with.Objective() != want {
				t.Errorf("objective %q, want %q", with.Objective(), want)
			}
			sum := 0.0
			for _, l := range m.Losses {
				sum += l.Value
			}
			near(t, "sum of the parts", sum, m.Loss, 0, 1e-12)
			if d := s.FLOPs(5) - plain.FLOPs(5); d != 1234 {
				t.Errorf("the term counts as %d FLOPs", d)
			}
			bytes := func(tr *Trainer) (n int) {
				for _, x := range tr.StepMemory(5) {
					n += x.Bytes
				}
				return n
			}
			if d := bytes(with) - bytes(without); d < 1<<29 {
				t.Errorf("the term counts as %d bytes", d)
			}
			if s.Fingerprint() == plain.Fingerprint() {
				t.Error("the settings with the term pass as those without")
			}
			dir := t.TempDir()
			if err := with.Save(dir); err != nil {
				t.Fatal(err)
			}
			resumed := trainer(t, b, s)
			if same, err := resumed.Load(dir); err != nil || !same {
				t.Fatal(same, err)
			}
			train(t, with, 12)
			train(t, resumed, 12)
			sameState(t, saved(t, with), saved(t, resumed))
			if _, err := without.Load(dir); err == nil || !strings.Contains(err.Error(), "unexpected pull") {
				t.Errorf("a recipe without the term loads its state: %v", err)
			}

			s.Terms = []loss.Spec{pull{Weight: optim.Constant(0.3), Broken: true}}
			s.Watch.MaxNonFinite = 0
			_, err := trainer(t, b, s).Step(batches(&s, 0))
			if bad, ok := err.(*NonFiniteError); !ok || len(bad.Parts) != 1 || bad.Parts[0] != "pull loss" {
				t.Errorf("error %v", err)
			}
		})
	}
}
