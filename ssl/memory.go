package ssl

import (
	"github.com/dino-mx/dmx/nn"
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
	for _, n := range []*Network{t.Student, t.Teacher} {
		for _, p := range n.parts() {
			params(p.params)
		}
	}
	if t.anchor != nil {
		params(t.anchor.model.Params)
	}
	for _, s := range t.opt.State() {
		size(s.M)
		size(s.V)
	}
	for _, l := range []*prototypeLoss{t.cls, t.patch} {
		if l != nil {
			size(l.targets.centre)
			size(l.targets.mean)
		}
	}
	return m
}

// Share is one part of a step's memory.
type Share struct {
	What  string
	Bytes int
}

// StepMemory lists what the arena holds at the peak of a step with so many masked patches: while the loss runs,
// everything the student keeps for backward is there, and both networks' prototypes. It is a count, not a
// measurement, for recipes without Gram anchoring.
func (t *Trainer) StepMemory(masked int) []Share {
	s := &t.Settings
	size, stat := t.dtype.Size(), t.stat.Size()
	rows := len(t.studentCLS) + masked
	shares := []Share{
		{"student activations", int(t.Student.Backbone.ActivationBytes(t.student, rows, s.Recompute))},
	}
	hidden := func(h nn.HeadConfig, rows int) int {
		// Every hidden layer before and after its activation; the bottleneck before its norm is let go.
		return rows * (2*h.Hidden*(h.Layers-1)*size + h.Bottleneck*size + stat)
	}
	// weights is the peak while one head's loss runs: prototypes are matrices of their own only under weight norm.
	weights := func(h nn.HeadConfig) (student, teacher, grad int) {
		if !h.WeightNorm {
			return 0, 0, 0
		}
		n := h.Prototypes * h.Bottleneck * size
		return n + h.Prototypes*stat, n, n
	}
	logits := func(l *prototypeLoss, units int) int {
		n := min(l.most, units)
		return n * (l.unit.students + l.unit.teachers) * l.k * size
	}
	first := s.DINO.Head
	w, wt, dw := weights(first)
	features := 2 * s.Batch * first.Bottleneck * size
	cls, patch := logits(t.cls, s.Batch), 0
	if s.IBOT.Head == nil {
		shares = append(shares, Share{"head activations", hidden(first, rows)}, Share{"gradient of the bottleneck", rows * first.Bottleneck * size})
		features += masked * first.Bottleneck * size
		if masked > 0 {
			patch = logits(t.patch, masked)
		}
		shares = append(shares, Share{"prototypes of the student", w}, Share{"their gradient", dw}, Share{"prototypes of the teacher", wt},
			Share{"bottlenecks of the teacher", features}, Share{"one chunk of logits on both sides", max(cls, patch)})
		return shares
	}
	second := *s.IBOT.Head
	w2, wt2, dw2 := weights(second)
	features += masked * second.Bottleneck * size
	// The DINO head's gradients wait for backward while the patch head's loss runs; its prototypes are let go.
	atCLS := hidden(first, len(t.studentCLS)) + len(t.studentCLS)*first.Bottleneck*size + w + dw + cls
	atPatch := hidden(first, len(t.studentCLS)) + len(t.studentCLS)*first.Bottleneck*size + dw +
		hidden(second, masked) + masked*second.Bottleneck*size + w2 + dw2 + logits(t.patch, max(masked, 1))
	return append(shares, Share{"prototypes of the teacher", wt + wt2}, Share{"bottlenecks of the teacher", features},
		Share{"heads, their gradients and logits", max(atCLS, atPatch)})
}
