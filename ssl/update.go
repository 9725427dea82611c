package ssl

import "github.com/dino-mx/dmx/tensor"

// squares sums the squares of the gradients by clip group, [groups], after they and the losses are those of all
// processes.
func (t *Trainer) squares(r rates) *tensor.Tensor {
	t.reduceGradients()
	return t.opt.Squares(r.optim.LastLayer)
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

// update moves student, teacher and the terms' state, unless a loss or a gradient is not finite.
func (t *Trainer) update(r rates) {
	t.opt.Apply(r.optim, t.losses)
	for i := range t.terms {
		t.terms[i].Update(t.opt.Scales())
	}
}
