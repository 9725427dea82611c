package ssl

import "github.com/dino-mx/dmx/tensor"

// squares sums the squares of the gradients by clip group, [groups], after they and the losses are those of all
// processes.
func (t *Trainer) squares(r rates) *tensor.Tensor {
	t.reduceGradients()
	squares := t.opt.Squares(r.optim.LastLayer)
	// A loss that is not finite must stop the update even where its gradient is finite: zero times it is NaN.
	for i := range t.losses.Len() {
		t.backend.Axpy(squares.Rows(0, 1), 0, t.losses.Rows(i, i+1))
	}
	return squares
}

// reduceGradients adds the gradients and the losses of all processes.
func (t *Trainer) reduceGradients() {
	reduce := t.Settings.Ranks.Reduce
	if reduce == nil {
		return
	}
	for _, p := range t.Student.parts() {
		p.params.FillMissing(t.backend)
		for _, q := range p.params.All() {
			if g := q.Grad(); g != nil && !q.Frozen && g.Len() > 0 {
				reduce("gradient of "+p.name+"/"+q.Name, g)
			}
		}
	}
	reduce("losses", t.losses)
}

// update moves student, teacher and the terms' state.
func (t *Trainer) update(r rates, squares *tensor.Tensor) {
	t.opt.Apply(r.optim)
	t.backend.ClipScales(t.scales, squares, 0)
	for i := range t.terms {
		t.terms[i].Update(t.scales)
	}
}
