package ssl

import (
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/tensor"
)

// Memory says what the trainer holds on its device, in bytes.
type Memory struct {
	Peak, Reserved int // of activations, their gradients and logits: the step arena
	State          int // weights, gradients, moments, teacher and centres
}

// Memory counts the trainer's memory.
func (t *Trainer) Memory() Memory {
	m := Memory{Peak: t.tape.A.Peak(), Reserved: t.tape.A.Reserved()}
	size := func(x *tensor.Tensor) {
		if x != nil {
			m.State += x.NumBytes()
		}
	}
	params := func(ps *nn.Params) {
		for _, q := range ps.All() {
			size(q.Value())
			size(q.Grad())
			if q.Weight.Value != q.Weight.Master {
				size(q.Compute())
			}
		}
	}
	for _, n := range []*Network{t.Student, t.Teacher.Network} {
		for _, p := range n.parts() {
			params(p.params)
		}
	}
	if t.snapshot != nil {
		params(t.snapshot.model.Params)
	}
	for _, s := range t.opt.State() {
		size(s.M)
		size(s.V)
	}
	for i := range t.terms {
		for _, x := range t.terms[i].State() {
			size(x.Tensor)
		}
	}
	for _, x := range []*tensor.Tensor{t.targets.cls, t.targets.masked, t.targets.student} {
		size(x)
	}
	return m
}

// Share is one part of a step's memory.
type Share struct {
	What  string
	Bytes int
}

// StepMemory lists what the arena holds at the peak of a step: while the terms run, everything the student keeps for
// backward of one micro-batch is there, and the prototypes of the heads. masked is the number of masked patches of the
// micro-batch with the most. It is a count, not a measurement.
func (t *Trainer) StepMemory(masked int) []Share {
	s := &t.Settings
	masked = min(masked, cap(t.draw.micro[0].masked))
	size := t.dtype.Size()
	cls := len(t.plan.studentCLS)
	rows := cls + masked
	kept := rows
	var shares []Share
	if t.reads().Student&loss.Patches != 0 {
		kept = t.plan.student.Tokens
		patches := t.plan.patches.Index.Len()
		shares = append(shares, Share{"all tokens and patches", (kept + 2*patches) * s.Backbone.Dim * size})
	}
	shares = append(shares, Share{"student activations", int(t.Student.Backbone.ActivationBytes(t.plan.student, kept, s.Recompute))})
	if s.microBatches() > 1 {
		shares = append(shares, Share{"crops of a micro-batch", 4 * t.images * s.pixels()})
	}
	// The terms that read tokens run before the heads, whose memory takes the place of theirs.
	tokens := t.termBytes(loss.CLS|loss.Masked|loss.Patches, masked)
	heads := t.headMemory(cls, masked)
	total := 0
	for _, x := range heads {
		total += x.Bytes
	}
	if tokens > total {
		heads = append(heads, Share{"terms that read tokens, beyond that", tokens - total})
	}
	return append(shares, heads...)
}

// termBytes is the largest memory of the terms that run when these rows are ready.
func (t *Trainer) termBytes(ready loss.Rows, masked int) (most int) {
	for i := range t.terms {
		if x := &t.terms[i]; last(x.reads.Student)&ready != 0 {
			most = max(most, x.spec.Cost(&t.env, masked).Bytes)
		}
	}
	return most
}

// headMemory lists what the heads hold while the terms that read them run.
func (t *Trainer) headMemory(cls, masked int) []Share {
	size, stat, rows := t.dtype.Size(), t.stat.Size(), cls+masked
	hidden := func(h nn.HeadConfig, rows int) int {
		// Every hidden layer before and after its activation; the bottleneck before its norm is let go.
		return rows * (2*h.Hidden*(h.Layers-1)*size + h.Bottleneck*size + stat)
	}
	// weights is the peak while one head's terms run: prototypes are matrices of their own only under weight norm.
	weights := func(h nn.HeadConfig) (student, teacher, grad int) {
		if !h.WeightNorm {
			return 0, 0, 0
		}
		n := h.Prototypes * h.Bottleneck * size
		return n + h.Prototypes*stat, n, n
	}
	first, theirs := t.env.CLSHead, t.env.TeacherCLSHead
	w, _, dw := weights(first)
	_, wt, _ := weights(theirs)
	if t.Student.PatchHead == nil {
		return []Share{
			{"head activations", hidden(first, rows)}, {"gradient of the bottleneck", rows * first.Bottleneck * size},
			{"prototypes of the student", w}, {"their gradient", dw}, {"prototypes of the teacher", wt},
			{"one chunk of logits on both sides", t.termBytes(loss.CLSHead|loss.MaskedHead, masked)},
		}
	}
	second := t.env.MaskedHead
	w2, _, dw2 := weights(second)
	_, wt2, _ := weights(t.env.TeacherMaskedHead)
	// The DINO head's gradients wait for backward while the patch head's terms run; its prototypes are let go.
	atCLS := hidden(first, cls) + cls*first.Bottleneck*size + w + dw + wt + t.termBytes(loss.CLSHead, masked)
	atPatch := hidden(first, cls) + cls*first.Bottleneck*size + dw + wt +
		hidden(second, masked) + masked*second.Bottleneck*size + w2 + dw2 + wt2 + t.termBytes(loss.MaskedHead, masked)
	return []Share{{"heads, their gradients and logits", max(atCLS, atPatch)}}
}
