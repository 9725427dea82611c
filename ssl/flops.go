package ssl

import "github.com/dino-mx/dmx/ssl/loss"

// FLOPs is the number of model floating-point operations of one step of this process, for the utilisation of a machine:
// products of the linear layers, of attention and of the terms, two operations for a multiply-add. The student counts
// three times its forward pass, a teacher once; recomputed blocks, the optimiser, normalisations and softmaxes count
// nothing. masked is the number of masked patches of the step.
func (s *Settings) FLOPs(masked int) int64 {
	e := s.env()
	total := s.passFLOPs(masked)
	for _, term := range s.objective() {
		total += term.Cost(&e, masked).FLOPs
	}
	return total
}

// passFLOPs counts the passes through backbones and heads up to the bottlenecks.
func (s *Settings) passFLOPs(masked int) int64 {
	globals, crops := s.globalView(), int64(s.Batch*s.crops())
	n, t := s.student(), s.teacher()
	student := crops * n.Head.FLOPs(n.Backbone.Dim)
	for _, v := range s.Views {
		student += int64(s.Batch*v.Count) * n.Backbone.FLOPs(v.Height, v.Width)
	}
	seen := int64(s.Batch * globals.Count)
	teacher := seen * (t.Backbone.FLOPs(globals.Height, globals.Width) + t.Head.FLOPs(t.Backbone.Dim))
	if masked > 0 {
		student += int64(masked) * n.patchHead().FLOPs(n.Backbone.Dim)
		teacher += int64(masked) * t.patchHead().FLOPs(t.Backbone.Dim)
	}
	total := 3*student + teacher
	if !loss.Off(s.Gram.Weight) {
		total += seen * t.Backbone.FLOPs(globals.Height, globals.Width)
	}
	return total
}
