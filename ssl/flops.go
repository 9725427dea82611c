package ssl

import "github.com/dino-mx/dmx/nn"

// FLOPs is the number of model floating-point operations of one step, for the utilisation of a machine: products
// of the linear layers, of attention and of the heads, two operations for a multiply-add. The student counts three
// times its forward pass, the teacher once; recomputed blocks, the optimiser, normalisations and softmaxes count
// nothing. masked is the number of masked patches of the step.
func (s *Settings) FLOPs(masked int) int64 {
	c := s.Backbone
	tokens := func(size int) (patches, all int64) {
		g := int64(size / c.PatchSize)
		return g * g, g*g + int64(c.Prefix())
	}
	d := int64(c.Dim)
	mlp := 2 * d * int64(c.MLPDim)
	if c.Gated {
		mlp = 3 * d * int64(c.MLPDim)
	}
	trunk := func(size int) int64 {
		p, n := tokens(size)
		block := 2*(4*d*d+mlp)*n + 4*n*n*d
		return 2*p*int64(c.Channels*c.PatchSize*c.PatchSize)*d + int64(c.Depth)*block
	}
	head := func(h headShape) int64 {
		in, total := d, int64(0)
		for i := range h.layers {
			out := h.hidden
			if i == h.layers-1 {
				out = h.bottleneck
			}
			total += 2 * in * out
			in = out
		}
		return total + 2*h.bottleneck*h.prototypes
	}
	b, l := int64(s.Batch), int64(s.LocalCrops)
	student := 2*b*trunk(s.GlobalSize) + (2+l)*b*head(shapeOf(s.DINO.Head))
	teacher := 2*b*trunk(s.GlobalSize) + 2*b*head(shapeOf(s.DINO.Head))
	if l > 0 {
		student += l * b * trunk(s.LocalSize)
	}
	if masked > 0 {
		h := s.DINO.Head
		if s.IBOT.Head != nil {
			h = *s.IBOT.Head
		}
		student += int64(masked) * head(shapeOf(h))
		teacher += int64(masked) * head(shapeOf(h))
	}
	total := 3*student + teacher
	if s.Gram.Weight > 0 {
		p, _ := tokens(s.GlobalSize)
		total += 2*b*trunk(s.GlobalSize) + 2*b*3*2*p*p*d // the anchor's pass; two similarities and a gradient
	}
	return total
}

type headShape struct {
	layers                         int
	hidden, bottleneck, prototypes int64
}

func shapeOf(h nn.HeadConfig) headShape {
	return headShape{h.Layers, int64(h.Hidden), int64(h.Bottleneck), int64(h.Prototypes)}
}
