package ssl

import (
	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/ssl/loss"
)

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
	student := crops * headFLOPs(n.Backbone, n.Head)
	for _, v := range s.Views {
		student += int64(s.Batch*v.Count) * trunkFLOPs(n.Backbone, v)
	}
	seen := int64(s.Batch * globals.Count)
	teacher := seen * (trunkFLOPs(t.Backbone, globals) + headFLOPs(t.Backbone, t.Head))
	if masked > 0 {
		student += int64(masked) * headFLOPs(n.Backbone, n.patchHead())
		teacher += int64(masked) * headFLOPs(t.Backbone, t.patchHead())
	}
	total := 3*student + teacher
	if !loss.Off(s.Gram.Weight) {
		total += seen * trunkFLOPs(t.Backbone, globals)
	}
	return total
}

// trunkFLOPs counts the backbone's pass over one crop.
func trunkFLOPs(c nn.ViTConfig, v data.ViewSpec) int64 {
	d := int64(c.Dim)
	mlp := 2 * d * int64(c.MLPDim)
	if c.Gated {
		mlp = 3 * d * int64(c.MLPDim)
	}
	p := int64(v.Height/c.PatchSize) * int64(v.Width/c.PatchSize)
	n := p + int64(c.Prefix())
	block := 2*(4*d*d+mlp)*n + 4*n*n*d
	return 2*p*int64(c.Channels*c.PatchSize*c.PatchSize)*d + int64(c.Depth)*block
}

// headFLOPs counts the MLP of a head for one row of a backbone.
func headFLOPs(c nn.ViTConfig, h nn.HeadConfig) (total int64) {
	in := int64(c.Dim)
	for i := range h.Layers {
		out := int64(h.Hidden)
		if i == h.Layers-1 {
			out = int64(h.Bottleneck)
		}
		total += 2 * in * out
		in = out
	}
	return total
}
