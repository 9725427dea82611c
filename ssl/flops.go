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
	c := s.Backbone
	d := int64(c.Dim)
	mlp := 2 * d * int64(c.MLPDim)
	if c.Gated {
		mlp = 3 * d * int64(c.MLPDim)
	}
	trunk := func(v data.ViewSpec) int64 {
		p := int64(v.Height/c.PatchSize) * int64(v.Width/c.PatchSize)
		n := p + int64(c.Prefix())
		block := 2*(4*d*d+mlp)*n + 4*n*n*d
		return int64(s.Batch*v.Count) * (2*p*int64(c.Channels*c.PatchSize*c.PatchSize)*d + int64(c.Depth)*block)
	}
	globals := s.globalView()
	teacher := trunk(globals) + int64(s.Batch*globals.Count)*headFLOPs(d, s.DINO.Head)
	student := int64(s.Batch*s.crops()) * headFLOPs(d, s.DINO.Head)
	for _, v := range s.Views {
		student += trunk(v)
	}
	if masked > 0 {
		student += int64(masked) * headFLOPs(d, s.patchHead())
		teacher += int64(masked) * headFLOPs(d, s.patchHead())
	}
	total := 3*student + teacher
	if !loss.Off(s.Gram.Weight) {
		total += trunk(globals)
	}
	return total
}

// headFLOPs counts the MLP of a head for one row of width in.
func headFLOPs(in int64, h nn.HeadConfig) (total int64) {
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
