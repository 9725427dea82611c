package ssl

import (
	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/ssl/loss"
)

// forwardBackward runs the student on all crops of a micro-batch, starts the gradients of every term and runs them back.
func (t *Trainer) forwardBackward(m *microBatch, r rates, watched *loss.Observation) {
	t.forwardStudent(m, r, watched)
	t.tape.Backward()
}

// forwardStudent runs the student on all crops of a micro-batch, adds the losses and starts the gradients of every term.
func (t *Trainer) forwardStudent(m *microBatch, r rates, watched *loss.Observation) {
	tape, net := t.tape, t.Student
	in := loss.Inputs{
		Tape: tape, Place: m.place, First: m.at == 0, Step: t.lossStep(r), Counts: m.counts, Observe: watched,
		TeacherCLS: t.teacherCLS(m.at*t.env.Globals, (m.at+m.place.Images)*t.env.Globals),
	}
	if t.targets.masked != nil {
		in.TeacherMasked = t.teacherMasked(m.lo, m.hi)
	}
	if t.snapshot != nil {
		in.Snapshot = t.snapshot.patches(t, m)
	}
	reads := t.reads().Student
	// Patches are read where there is something to compare them with.
	whole := reads&loss.Patches != 0 && (t.snapshot == nil || in.Snapshot != nil)
	o := nn.Options{Rows: m.rows, Checkpoint: t.Settings.Recompute, Draw: t.randomness(m)}
	if whole {
		o.Rows = nil
	}
	all := net.Backbone.Forward(tape, t.plan.student, m.groups, o).Tokens
	tokens := all
	if whole {
		in.Patches = tape.Gather(all, t.plan.patches)
		t.backward(&in, loss.Patches)
		tape.Release(in.Patches)
		if in.Snapshot != nil {
			tape.A.Free(in.Snapshot)
		}
		tokens = tape.Gather(all, tape.RowMap(m.rows, t.plan.student.Tokens))
		tape.Release(all)
	}
	t.heads(&in, tokens, reads, m)
}

// heads runs the terms that read tokens of chosen rows, and heads with the terms that read theirs.
func (t *Trainer) heads(in *loss.Inputs, tokens *autograd.Var, reads loss.Rows, m *microBatch) {
	tape, net := t.tape, t.Student
	n, masked := len(t.plan.studentCLS), len(m.masked)
	cls := tokens
	if reads&(loss.CLS|loss.Masked) != 0 || net.PatchHead != nil {
		cls = tape.Slice(tokens, 0, n)
		in.CLS = cls
		if masked > 0 {
			in.Tokens = tape.Slice(tokens, n, n+masked)
		}
	}
	t.backward(in, loss.CLS|loss.Masked)
	if net.PatchHead == nil {
		f, w := net.Head.Features(tape, tokens), net.Head.Prototypes(tape)
		in.CLSHead = loss.StudentHead{Features: tape.Slice(f, 0, n), Prototypes: w}
		if masked > 0 {
			in.MaskedHead = loss.StudentHead{Features: tape.Slice(f, n, n+masked), Prototypes: w}
		}
		t.backward(in, loss.CLSHead|loss.MaskedHead)
		tape.Release(f)
		tape.Release(w)
	} else {
		f, w := net.Head.Features(tape, cls), net.Head.Prototypes(tape)
		in.CLSHead = loss.StudentHead{Features: f, Prototypes: w}
		t.backward(in, loss.CLSHead)
		tape.Release(f)
		tape.Release(w)
		if masked > 0 {
			f, w = net.PatchHead.Features(tape, tape.Slice(tokens, n, n+masked)), net.PatchHead.Prototypes(tape)
			in.MaskedHead = loss.StudentHead{Features: f, Prototypes: w}
			t.backward(in, loss.MaskedHead)
			tape.Release(f)
			tape.Release(w)
		}
	}
	if cls == tokens {
		tape.Release(tokens)
	}
	// Otherwise operations have saved row ranges of the tokens, which do not hold on to them: Reset frees them.
}

// backward runs the terms whose last rows to be ready are among these.
func (t *Trainer) backward(in *loss.Inputs, ready loss.Rows) {
	for i := range t.terms {
		x := &t.terms[i]
		if last(x.reads.Student)&ready != 0 {
			in.Loss = t.losses.Rows(x.lo, x.hi)
			x.Backward(in)
		}
	}
}

// last is the rows of a set that are ready last: patches, then tokens, then those of a head.
func last(r loss.Rows) loss.Rows {
	for _, group := range []loss.Rows{loss.CLSHead | loss.MaskedHead, loss.CLS | loss.Masked} {
		if r&group != 0 {
			return r & group
		}
	}
	return r
}
