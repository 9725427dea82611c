package ssl

import (
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/tensor"
)

// targets is what the passes without gradients leave for the terms, in memory of the trainer: normalised bottlenecks of
// the teacher's heads for all images of this process's step.
type targets struct {
	cls    *tensor.Tensor // [B·globals, b], image by image
	masked *tensor.Tensor // [most masked, b], micro-batch by micro-batch; nil when nothing is masked
	// student is the CLS tokens of the student's global crops, [B·globals, D], image by image; nil when no term asks
	// for them ahead.
	student *tensor.Tensor
	// prototypes of the teacher's heads, in the arena, once they were asked for.
	clsPrototypes, maskedPrototypes *tensor.Tensor
}

// makeTargets allocates the memory.
func (t *Trainer) makeTargets() error {
	s, reads := &t.Settings, t.reads()
	rows := s.Batch * s.globalView().Count
	for _, x := range []struct {
		on   bool
		dst  **tensor.Tensor
		n, d int
	}{
		{true, &t.targets.cls, rows, t.env.TeacherCLSHead.Bottleneck},
		{t.draw.most > 0, &t.targets.masked, t.draw.most, t.env.TeacherMaskedHead.Bottleneck},
		{reads.WholeBatch && s.microBatches() > 1, &t.targets.student, rows, s.Backbone.Dim},
	} {
		if !x.on {
			continue
		}
		m, err := tensor.New(t.backend.Allocator(), t.dtype, x.n, x.d)
		if err != nil {
			return err
		}
		*x.dst = m
	}
	return nil
}

// forwardTeacher runs the teacher on the unmasked global crops of a micro-batch.
func (t *Trainer) forwardTeacher(m *microBatch, watched *loss.Observation) {
	tape, net, n := t.tape, t.Teacher, len(t.plan.teacherCLS)
	tape.NoGrad(func() {
		globals := [1]nn.Group{{Images: m.groups[0].Images}}
		rows := t.plan.teacher.MaskedRows(append(m.rows[:0:0], t.plan.teacherCLS...), 0, m.mask)
		tokens := net.Backbone.Forward(tape, t.plan.teacher, globals[:], nn.Options{Rows: rows}).Tokens
		if watched != nil && m.at == 0 {
			watched.Features(tape, tokens.Value.Rows(0, n))
		}
		cls := t.targets.cls.Rows(m.at*t.env.Globals, m.at*t.env.Globals+n)
		if net.PatchHead == nil {
			f := net.Head.Features(tape, tokens)
			t.backend.Copy(cls, f.Value.Rows(0, n))
			if m.hi > m.lo {
				t.backend.Copy(t.targets.masked.Rows(m.lo, m.hi), f.Value.Rows(n, len(rows)))
			}
			tape.Release(f)
		} else {
			f := net.Head.Features(tape, tape.Slice(tokens, 0, n))
			t.backend.Copy(cls, f.Value)
			tape.Release(f)
			if m.hi > m.lo {
				f = net.PatchHead.Features(tape, tape.Slice(tokens, n, len(rows)))
				t.backend.Copy(t.targets.masked.Rows(m.lo, m.hi), f.Value)
				tape.Release(f)
			}
		}
		tape.Release(tokens)
	})
}

// forwardCLS runs the student on the global crops of a micro-batch, with the draws that it will learn with, and keeps their
// CLS tokens: a term reads them before the first micro-batch is learned from.
func (t *Trainer) forwardCLS(m *microBatch) {
	tape, n := t.tape, len(t.plan.teacherCLS)
	tape.NoGrad(func() {
		o := nn.Options{Rows: t.plan.globalsCLS, Draw: t.randomness(m)}
		tokens := t.Student.Backbone.Forward(tape, t.plan.globals, m.groups[:1], o).Tokens
		t.backend.Copy(t.targets.student.Rows(m.at*t.env.Globals, m.at*t.env.Globals+n), tokens.Value)
		tape.Release(tokens)
	})
}

// randomness keys the student's random draws for a micro-batch of this step.
func (t *Trainer) randomness(m *microBatch) nn.Draw {
	part := m.place.First / m.place.Images
	return nn.Draw{Train: true, Seed: t.Settings.Seed, Step: uint32(t.steps), Part: uint32(part)}
}

// prepare has every term form what depends on all images of the step, and takes the snapshot when it is due.
func (t *Trainer) prepare(r rates) {
	if t.snapshot != nil {
		t.snapshot.refresh(t)
	}
	n := t.targets.cls.Dim(0)
	b := &loss.Batch{
		Tape: t.tape, Place: loss.Place{First: t.draw.micro[0].place.First, Images: t.Settings.Batch, Total: t.env.Total},
		Step: t.lossStep(r), Masked: t.draw.masked, CLSHead: t.teacherCLS(0, n), StudentCLS: t.targets.student,
	}
	if t.targets.masked != nil {
		b.MaskedHead = t.teacherMasked(0, t.draw.local())
	}
	for i := range t.terms {
		t.terms[i].Prepare(b)
	}
}

func (t *Trainer) lossStep(r rates) loss.Step {
	return loss.Step{Index: t.steps, TeacherTemp: r.teacherTemp}
}

// teacherCLS is rows lo to hi of the teacher's head of CLS tokens.
func (t *Trainer) teacherCLS(lo, hi int) loss.TeacherHead {
	return loss.TeacherHead{Features: t.targets.cls.Rows(lo, hi), Prototypes: func() *tensor.Tensor {
		return t.prototypes(&t.targets.clsPrototypes, t.Teacher.Head)
	}}
}

// teacherMasked is rows lo to hi of the teacher's head of masked patches.
func (t *Trainer) teacherMasked(lo, hi int) loss.TeacherHead {
	return loss.TeacherHead{Features: t.targets.masked.Rows(lo, hi), Prototypes: func() *tensor.Tensor {
		if t.Teacher.PatchHead == nil {
			return t.prototypes(&t.targets.clsPrototypes, t.Teacher.Head)
		}
		return t.prototypes(&t.targets.maskedPrototypes, t.Teacher.PatchHead)
	}}
}

// prototypes computes the prototypes of a head of the teacher once in the life of the arena's content.
func (t *Trainer) prototypes(at **tensor.Tensor, head *nn.Head) *tensor.Tensor {
	if *at == nil {
		t.tape.NoGrad(func() { *at = t.tape.Detach(head.Prototypes(t.tape)) })
	}
	return *at
}

// reset empties the tape and its arena.
func (t *Trainer) reset() {
	t.tape.Reset()
	t.targets.clsPrototypes, t.targets.maskedPrototypes = nil, nil
}
