package ssl

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/tensor"
)

// Step trains on one batch. The error is a batch of the wrong shape, a device fault, *tensor.OutOfMemory, or
// *NonFiniteError; a step that was merely skipped is reported in the metrics. On a device a step that is not measured
// returns before it is done; its fault is the error of a later one.
//
// A step has four phases: the teacher runs on every micro-batch; every term forms what depends on all images; the
// student learns from every micro-batch in turn; student, teacher and the terms' state are updated.
func (t *Trainer) Step(batch Batch) (m Metrics, err error) {
	if err := batch.check(&t.Settings); err != nil {
		return Metrics{}, err
	}
	buffer := t.staged(batch)
	defer func() {
		if buffer != nil {
			t.feed.release(buffer)
		}
		if r := recover(); r != nil {
			oom, ok := r.(*tensor.OutOfMemory)
			if !ok {
				panic(r)
			}
			t.reset()
			err = oom
			// A device that has failed has no memory either.
			if fault := t.backend.Sync(); fault != nil {
				err = fault
			}
			err = fmt.Errorf("step %d: %w", t.steps, err)
		}
	}()
	m, err = t.step(batch)
	t.reset()
	if err == nil && !t.reserved {
		t.reserve(m.Masked)
	}
	return m, err
}

func (t *Trainer) step(batch Batch) (m Metrics, err error) {
	r := t.rates()
	m = Metrics{
		Step: t.steps, LR: r.optim.LR, WeightDecay: r.optim.WD, Momentum: r.optim.Momentum, TeacherTemp: r.teacherTemp,
		Measured: t.measured() || batch.Measure,
	}
	var watched *loss.Observation
	if m.Measured && t.watching() {
		watched = t.watched
	}
	squares := t.gradients(batch, r, watched)
	m.Masked = t.draw.local()
	if m.Measured {
		t.measure(&m, squares)
	}
	if m.Skipped {
		t.bad++
	} else {
		if m.Measured {
			t.bad = 0
		}
		t.submit(func() { t.update(r) })
	}
	if watched != nil && !m.Skipped {
		m.Watched, m.Health = true, watched.Read(t.backend)
		t.Settings.Watch.judge(&m, t.Settings.Targets.Sinkhorn)
	}
	if m.Measured {
		if err := t.backend.Sync(); err != nil {
			return m, fmt.Errorf("step %d: %w", t.steps, err)
		}
	}
	if m.Skipped && t.bad > t.Settings.Watch.MaxNonFinite {
		return m, t.diagnose(batch, &m)
	}
	t.steps++
	return m, nil
}

// gradients carries out the phases of a step up to the student's gradients, and returns the sums of their squares by
// clip group.
func (t *Trainer) gradients(batch Batch, r rates, watched *loss.Observation) (squares *tensor.Tensor) {
	micro := t.draw.micro
	if len(micro) == 1 {
		// One submission: a device repeats the step as a whole.
		t.submit(func() {
			m := &micro[0]
			t.load(m, batch)
			t.begin(watched)
			t.forwardTeacher(m, watched)
			t.prepare(r)
			t.forwardBackward(m, r, watched)
			squares = t.squares(r)
		})
		return squares
	}
	phase := func(m *microBatch, f func(m *microBatch)) {
		t.reset()
		t.submit(func() {
			t.load(m, batch)
			f(m)
		})
	}
	t.begin(watched)
	for j := range micro {
		phase(&micro[j], func(m *microBatch) {
			t.forwardTeacher(m, watched)
			if t.targets.student != nil {
				t.forwardCLS(m)
			}
		})
	}
	t.reset()
	t.submit(func() { t.prepare(r) })
	for j := range micro {
		phase(&micro[j], func(m *microBatch) { t.forwardBackward(m, r, watched) })
	}
	t.submit(func() { squares = t.squares(r) })
	return squares
}

// begin draws what is random in a step, and starts gradients, losses and observation at nothing.
func (t *Trainer) begin(watched *loss.Observation) {
	t.drawStep()
	for _, p := range t.Student.parts() {
		p.params.ZeroGrad()
	}
	t.backend.Fill(t.losses, 0)
	if watched != nil {
		watched.Begin(t.backend)
	}
}

// submit performs f, whose operations go to the device in one piece where that is faster.
func (t *Trainer) submit(f func()) {
	if g, ok := t.backend.(kernels.Batcher); ok {
		g.Submit(f)
		return
	}
	f()
}

// rates is the numbers that the schedules give for a step.
type rates struct {
	optim       optim.Step
	teacherTemp float64
}

func (t *Trainer) rates() rates {
	c := &t.Settings.Schedules
	r := rates{
		optim:       optim.Step{LR: c.LR.At(t.steps), WD: c.WeightDecay.At(t.steps), Momentum: c.Momentum.At(t.steps)},
		teacherTemp: c.TeacherTemp.At(t.steps),
	}
	if t.steps < c.FreezeLastLayer {
		r.optim.LastLayer = c.LastLayer
	}
	return r
}

// measureEvery is the number of steps between those that read their results back. On the CPU they are there anyway.
func (t *Trainer) measureEvery() int {
	if kernels.OnHost(t.backend) {
		return 1
	}
	return max(1, t.Settings.MeasureEvery)
}

// measured reports whether this step reads its results back.
func (t *Trainer) measured() bool { return t.steps%t.measureEvery() == 0 }

// watching reports whether features and prototypes are looked at in this step, a measured one: whether their turn has
// come since the last measured step.
func (t *Trainer) watching() bool {
	every := t.Settings.Watch.Every
	return every > 0 && t.steps%every < t.measureEvery()
}

// measure reads losses and gradient norm and decides whether the step is skipped.
func (t *Trainer) measure(m *Metrics, squares *tensor.Tensor) {
	l, q := kernels.ToHost(t.backend, t.losses), kernels.ToHost(t.backend, squares)
	for i := range t.terms {
		x := &t.terms[i]
		for j, p := range x.parts {
			v := l.At(x.lo + j)
			m.Losses = append(m.Losses, PartLoss{p, v})
			m.Loss += v
		}
	}
	sum := 0.0
	for i := range q.Len() {
		sum += q.At(i)
	}
	m.Norm = math.Sqrt(sum)
	m.Skipped = !finite(m.Loss) || !finite(m.Norm)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// reserve makes the arena just large enough for a step with the largest possible number of masked patches; masked is
// the number in the step that has just shown what it needs.
func (t *Trainer) reserve(masked int) {
	t.reserved = true
	if t.draw.most == 0 {
		t.tape.A.Fit(0)
		return
	}
	h := t.env.MaskedHead
	// For each row: tokens and their gradient, every layer of both heads with its input to the activation, and the
	// gradients in flight.
	row := t.dtype.Size() * (8*t.Settings.Backbone.Dim + 3*h.Hidden*h.Layers + 8*h.Bottleneck)
	t.tape.A.Fit((t.draw.most - masked) * row)
}
