package ssl

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/tensor"
)

// Step trains on one batch. The error is a batch of the wrong shape, a device fault, *tensor.OutOfMemory, or
// *NonFiniteError; a step that was merely skipped is reported in the metrics. On a device a step that is not measured
// returns before it is done; its fault is the error of a later one.
func (t *Trainer) Step(batch Batch) (m Metrics, err error) {
	if err := batch.check(&t.Settings); err != nil {
		return Metrics{}, err
	}
	place := t.staged(batch)
	defer func() {
		if place != nil {
			t.feed.leave(place)
		}
		if r := recover(); r != nil {
			oom, ok := r.(*tensor.OutOfMemory)
			if !ok {
				panic(r)
			}
			t.tape.Reset()
			err = oom
			// A device that has failed has no memory either.
			if fault := t.backend.Sync(); fault != nil {
				err = fault
			}
			err = fmt.Errorf("step %d: %w", t.steps, err)
		}
	}()
	m, err = t.step(batch)
	t.tape.Reset()
	if err == nil && !t.reserved {
		t.reserve(m.Masked)
	}
	return m, err
}

func (t *Trainer) step(batch Batch) (m Metrics, err error) {
	s := &t.Settings
	m = t.scheduled()
	m.Measured = t.measured() || batch.Measure
	var watched *observation
	if m.Measured && t.watching() {
		watched = t.watched
	}
	step := t.optimStep(m)
	var squares *tensor.Tensor
	t.together(func() {
		t.prepare(batch)
		if watched != nil {
			watched.begin(t.backend)
		}
		t.forward(m.TeacherTemp, watched)
		t.tape.Backward()
		squares = t.opt.Squares(step.LastLayer)
		// A loss that is not finite must stop the update even where its gradient is finite: zero times it is NaN.
		for i := range lossParts {
			t.backend.Axpy(squares.Rows(0, 1), 0, t.losses.Rows(i, i+1))
		}
	})
	m.Masked = len(t.host.masked)
	if m.Measured {
		t.measure(&m, squares)
	}
	if m.Skipped {
		t.bad++
	} else {
		t.bad = 0
		t.together(func() { t.update(step, squares) })
	}
	if watched != nil && !m.Skipped {
		ce := 0.0
		if s.DINO.Weight > 0 {
			ce = (m.DINOGlobal + m.DINOLocal) / s.DINO.Weight
		}
		watched.read(t.backend, &m, ce)
		s.Watch.judge(&m, s.Targets.Sinkhorn)
	}
	if m.Measured {
		if err := t.backend.Sync(); err != nil {
			return m, fmt.Errorf("step %d: %w", t.steps, err)
		}
	}
	if m.Skipped && t.bad > s.Watch.MaxNonFinite {
		return m, t.diagnose(batch, &m)
	}
	t.steps++
	return m, nil
}

// update moves student, teacher and centres.
func (t *Trainer) update(step optim.Step, squares *tensor.Tensor) {
	t.opt.Apply(step)
	t.backend.ClipScales(t.scales, squares, 0)
	for _, l := range []*prototypeLoss{t.cls, t.patch} {
		if l != nil {
			l.targets.follow(t.backend, t.scales)
		}
	}
}

// together performs f, whose operations go to the device in one piece where that is cheaper.
func (t *Trainer) together(f func()) {
	if g, ok := t.backend.(kernels.Batcher); ok {
		g.Submit(f)
		return
	}
	f()
}

// reserve makes the arena just large enough for a step with the most masked patches there can be, after a first step
// that had masked of them: the number varies, and the arena must not grow with every new maximum.
func (t *Trainer) reserve(masked int) {
	t.reserved = true
	if t.patch == nil {
		t.tape.A.Fit(0)
		return
	}
	h := t.Settings.DINO.Head
	if t.Settings.IBOT.Head != nil {
		h = *t.Settings.IBOT.Head
	}
	// For each row: tokens and their gradient, every layer of both heads with its input to the activation, and the
	// gradients in flight.
	row := t.dtype.Size() * (8*t.Settings.Backbone.Dim + 3*h.Hidden*h.Layers + 8*h.Bottleneck)
	t.tape.A.Fit((cap(t.host.masked) - masked) * row)
}

// prepare takes the crops and draws what the step needs.
func (t *Trainer) prepare(batch Batch) {
	t.take(batch)
	t.keys(batch.Samples)
	t.drawMasks()
}

// forward runs both networks, writes the losses, and starts the student's gradients.
func (t *Trainer) forward(temp float64, watched *observation) {
	for _, p := range t.Student.parts() {
		p.params.ZeroGrad()
	}
	t.backend.Fill(t.losses, 0)
	target := t.teach(watched)
	t.learn(target, t.anchored(), temp, watched)
}

// scheduled is the metrics that the schedules give.
func (t *Trainer) scheduled() Metrics {
	c := t.Settings.Schedules
	return Metrics{
		Step: t.steps, LR: c.LR.At(t.steps), WeightDecay: c.WeightDecay.At(t.steps),
		Momentum: c.Momentum.At(t.steps), TeacherTemp: c.TeacherTemp.At(t.steps),
	}
}

func (t *Trainer) optimStep(m Metrics) optim.Step {
	s := optim.Step{LR: m.LR, WD: m.WeightDecay, Momentum: m.Momentum}
	if t.steps < t.Settings.Schedules.FreezeLastLayer {
		s.LastLayer = t.Settings.Schedules.LastLayer
	}
	return s
}

// measureEvery is the number of steps between those that read their results back. On the CPU they are there anyway.
func (t *Trainer) measureEvery() int {
	if t.backend.Allocator().Device().Kind == tensor.CPU {
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

// onDevice is x itself on the CPU, else a copy in the arena.
func (t *Trainer) onDevice(x *tensor.Tensor) *tensor.Tensor {
	if x == nil || t.backend.Allocator().Device() == x.Device() {
		return x
	}
	d := t.tape.A.New(x.DType(), x.Shape()...)
	t.backend.Upload(d, x)
	return d
}

// keys names every crop to the streams of drop path by its image and view.
func (t *Trainer) keys(samples []uint32) {
	views := uint32(2 + t.Settings.LocalCrops)
	for i, n := range samples {
		for v := range 2 {
			t.host.keys[0][v*len(samples)+i] = n*views + uint32(v)
		}
		for v := range t.Settings.LocalCrops {
			t.host.keys[1][v*len(samples)+i] = n*views + 2 + uint32(v)
		}
	}
	t.groups[0].Keys, t.groups[1].Keys = t.host.keys[0], t.host.keys[1]
}

// drawMasks decides which patches the student does not see, and the weight of each.
func (t *Trainer) drawMasks() {
	h := &t.host
	h.rows = append(h.rows[:0], t.studentCLS...)
	if t.patch == nil {
		return
	}
	s := &t.Settings
	ms := s.maskSettings()
	ms.Fill(h.mask, 2*s.Batch, s.Seed, uint32(t.steps))
	t.groups[0].Mask = h.mask
	h.masked = t.student.MaskedRows(h.masked[:0], 0, h.mask)
	h.rows = append(h.rows, h.masked...)
	cells := ms.GridH * ms.GridW
	next := 0
	for crop := range 2 * s.Batch {
		n := 0
		for _, masked := range h.mask[crop*cells : (crop+1)*cells] {
			if masked {
				n++
			}
		}
		for range n {
			h.weights.Set(next, s.IBOT.Weight/(float64(n)*float64(2*s.Batch)))
			next++
		}
	}
}

// studentGroups is the crops that the student sees.
func (t *Trainer) studentGroups() []nn.Group {
	if t.Settings.LocalCrops == 0 {
		return t.groups[:1]
	}
	return t.groups[:]
}

// targets is what the teacher hands to the losses, in the arena.
type targets struct {
	cls, patch             *tensor.Tensor // normalised bottlenecks [2B, b], [masked, b]
	clsWeight, patchWeight *tensor.Tensor // prototypes [K, b]
}

// teach runs the teacher on the unmasked global crops.
func (t *Trainer) teach(watched *observation) (out targets) {
	tape, net := t.tape, t.Teacher
	t.tape.NoGrad(func() {
		globals := [1]nn.Group{{Images: t.groups[0].Images}}
		// The rows of a global crop are the same in both layouts: global crops come first.
		rows := append(append(t.host.rows[:0:0], t.teacherCLS...), t.host.masked...)
		tokens := net.Backbone.Forward(tape, t.teacher, globals[:], nn.Options{Rows: rows}).Tokens
		n := len(t.teacherCLS)
		if watched != nil {
			watched.features(tape, tokens.Value.Rows(0, n))
		}
		if net.PatchHead == nil {
			f := tape.Keep(net.Head.Features(tape, tokens))
			out.cls, out.patch = f.Rows(0, n), f.Rows(n, f.Dim(0))
			out.clsWeight = tape.Keep(net.Head.Prototypes(tape))
			out.patchWeight = out.clsWeight
		} else {
			out.cls = tape.Keep(net.Head.Features(tape, tape.Slice(tokens, 0, n)))
			out.clsWeight = tape.Keep(net.Head.Prototypes(tape))
			if len(t.host.masked) > 0 {
				out.patch = tape.Keep(net.PatchHead.Features(tape, tape.Slice(tokens, n, len(rows))))
				out.patchWeight = tape.Keep(net.PatchHead.Prototypes(tape))
			}
		}
		tape.Release(tokens)
	})
	return out
}

// anchored is the anchor's patch features, or nil while the Gram loss is not active.
func (t *Trainer) anchored() *tensor.Tensor {
	a := t.anchor
	if a == nil || t.steps < t.Settings.Gram.First {
		return nil
	}
	if t.Settings.Gram.due(t.steps, a.taken) {
		if err := a.model.Params.CopyFrom(t.backend, t.Teacher.Backbone.Params); err != nil {
			panic(err) // made from the same configuration
		}
		a.taken++
	}
	globals := [1]nn.Group{{Images: t.groups[0].Images}}
	return a.features(t.tape, globals[:])
}

// learn runs the student on all crops and starts the gradients of every loss.
func (t *Trainer) learn(target targets, anchored *tensor.Tensor, temp float64, watched *observation) {
	s, tape, net := &t.Settings, t.tape, t.Student
	o := nn.Options{
		Rows: t.host.rows, Checkpoint: s.Recompute,
		Draw: nn.Draw{Train: true, Seed: s.Seed, Step: uint32(t.steps)},
	}
	if anchored != nil {
		o.Rows = nil
	}
	all := net.Backbone.Forward(tape, t.student, t.studentGroups(), o).Tokens
	tokens := all
	if anchored != nil {
		t.gram(all, anchored)
		tokens = tape.Gather(all, t.rowMap(t.host.rows, t.student.Tokens))
		tape.Release(all)
	}
	n, masked := len(t.studentCLS), len(t.host.masked)
	cls := tokens
	if s.KoLeo.Weight > 0 || net.PatchHead != nil {
		cls = tape.Slice(tokens, 0, n)
	}
	if s.KoLeo.Weight > 0 && s.Batch > 1 {
		t.koLeo(cls)
	}
	if net.PatchHead == nil {
		f, w := net.Head.Features(tape, tokens), net.Head.Prototypes(tape)
		t.dino(f, w, target, temp, watched)
		if masked > 0 {
			t.ibot(f, w, n, target, temp)
		}
		tape.Release(f)
		tape.Release(w)
	} else {
		f, w := net.Head.Features(tape, cls), net.Head.Prototypes(tape)
		t.dino(f, w, target, temp, watched)
		tape.Release(f)
		tape.Release(w)
		if masked > 0 {
			f, w = net.PatchHead.Features(tape, tape.Slice(tokens, n, n+masked)), net.PatchHead.Prototypes(tape)
			t.ibot(f, w, 0, target, temp)
			tape.Release(f)
			tape.Release(w)
		}
	}
	if cls == tokens {
		tape.Release(tokens)
	}
	// Otherwise operations have saved row ranges of the tokens, which do not hold on to them: Reset frees them.
}

// rowMap picks rows out of a matrix of n rows, for this step.
func (t *Trainer) rowMap(rows []int32, n int) autograd.RowMap {
	inverse := make([]int32, n)
	for i := range inverse {
		inverse[i] = -1
	}
	for i, r := range rows {
		inverse[r] = int32(i)
	}
	m := autograd.RowMap{Index: t.tape.A.New(tensor.I32, len(rows)), Inverse: t.tape.A.New(tensor.I32, n)}
	t.backend.Upload(m.Index, tensor.FromI32(rows, len(rows)))
	t.backend.Upload(m.Inverse, tensor.FromI32(inverse, n))
	return m
}

// dino evaluates the loss between CLS tokens; f starts with their features.
func (t *Trainer) dino(f, w *autograd.Var, target targets, temp float64, watched *observation) {
	n, pairs := len(t.studentCLS), t.cls.unit.pairs()
	df, acc := t.tape.Into(f)
	loss := t.tape.A.New(t.stat, t.Settings.Batch*pairs)
	t.cls.run(t.tape, prototypeInputs{
		Student: f.Value.Rows(0, n), DStudent: df.Rows(0, n), Add: acc, Prototypes: w,
		Teacher: target.cls, TeacherW: target.clsWeight, Weights: t.clsWeights, Loss: loss,
		STemp: t.Settings.Targets.StudentTemp, TTemp: temp, Observed: watched,
	})
	parts := t.tape.A.New(t.stat, pairs)
	t.backend.ColSum(parts, loss.Reshape(t.Settings.Batch, pairs), 1, false)
	t.backend.Sum(t.losses.Rows(lossGlobal, lossGlobal+1), parts.Rows(0, 2), 1, false)
	if pairs > 2 {
		t.backend.Sum(t.losses.Rows(lossLocal, lossLocal+1), parts.Rows(2, pairs), 1, false)
	}
	t.tape.A.Free(parts)
	t.tape.A.Free(loss)
}

// ibot evaluates the loss on masked patches; their features are the rows of f from first on.
func (t *Trainer) ibot(f, w *autograd.Var, first int, target targets, temp float64) {
	n := len(t.host.masked)
	df, _ := t.tape.Into(f)
	weights, loss := t.tape.A.New(t.stat, n), t.tape.A.New(t.stat, n)
	t.backend.Upload(weights, t.host.weights.Rows(0, n))
	t.patch.run(t.tape, prototypeInputs{
		// Nothing has given these rows a gradient yet, even where the head is shared with the CLS tokens.
		Student: f.Value.Rows(first, first+n), DStudent: df.Rows(first, first+n), Prototypes: w,
		Teacher: target.patch, TeacherW: target.patchWeight, Weights: weights, Loss: loss,
		STemp: t.Settings.Targets.StudentTemp, TTemp: temp,
	})
	t.backend.Sum(t.losses.Rows(lossIBOT, lossIBOT+1), loss, 1, false)
	t.tape.A.Free(loss)
	t.tape.A.Free(weights)
}

// koLeo spreads the CLS tokens of each global view.
func (t *Trainer) koLeo(cls *autograd.Var) {
	loss := t.tape.A.New(t.stat, t.Settings.Batch)
	for v := range t.views {
		x := t.tape.Gather(cls, t.views[v])
		koLeo(t.tape, x, loss, t.Settings.KoLeo.Weight)
		t.backend.Sum(t.losses.Rows(lossKoLeo, lossKoLeo+1), loss, 1, v > 0)
		t.tape.Release(x)
	}
	t.tape.A.Free(loss)
}

// gram holds the student's patch similarities to the anchor's.
func (t *Trainer) gram(all *autograd.Var, anchored *tensor.Tensor) {
	loss := t.tape.A.New(t.stat, t.anchor.crops)
	x := t.tape.Gather(all, t.anchor.student)
	gramLoss(t.tape, x, anchored, loss, t.anchor.crops, t.Settings.Gram.Weight, t.Settings.Gram.RemoveNegative)
	t.backend.Sum(t.losses.Rows(lossGram, lossGram+1), loss, 1, false)
	t.tape.Release(x)
	t.tape.A.Free(loss)
	t.tape.A.Free(anchored)
}

// measure reads losses and gradient norm and decides whether the step is skipped.
func (t *Trainer) measure(m *Metrics, squares *tensor.Tensor) {
	l, q := download(t.backend, t.losses), download(t.backend, squares)
	m.DINOGlobal, m.DINOLocal, m.IBOT = l.At(lossGlobal), l.At(lossLocal), l.At(lossIBOT)
	m.KoLeo, m.Gram = l.At(lossKoLeo), l.At(lossGram)
	m.Loss = m.DINOGlobal + m.DINOLocal + m.IBOT + m.KoLeo + m.Gram
	sum := 0.0
	for i := range q.Len() {
		sum += q.At(i)
	}
	m.Norm = math.Sqrt(sum)
	m.Skipped = !finite(m.Loss) || !finite(m.Norm)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
