package ssl

import (
	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// anchor is the Gram teacher: a copy of the teacher's backbone as it was at some step.
type anchor struct {
	model  *nn.ViT
	layout *nn.Layout
	taken  int // how often it was copied
	// patches picks the patch tokens of the global crops out of the student's and out of the anchor's matrix.
	student, own autograd.RowMap
	crops        int
}

func newAnchor(t *Trainer) (*anchor, error) {
	a := &anchor{crops: 2 * t.Settings.Batch}
	var err error
	if a.model, err = (nn.Builder{Backend: t.backend, DType: t.dtype}).NewViT(t.Settings.Backbone); err != nil {
		return nil, err
	}
	a.layout = t.teacher
	if a.student, err = patchRows(t, t.student); err != nil {
		return nil, err
	}
	a.own, err = patchRows(t, t.teacher)
	return a, err
}

// patchRows picks the patches of the first group.
func patchRows(t *Trainer, l *nn.Layout) (m autograd.RowMap, err error) {
	inverse := make([]int32, l.Tokens)
	for i := range inverse {
		inverse[i] = -1
	}
	var index []int32
	g := l.Groups[0]
	for i := range g.Batch {
		for p := range g.Patches() {
			r := l.Row(0, i, p)
			inverse[r] = int32(len(index))
			index = append(index, r)
		}
	}
	if m.Index, err = upload(t.backend, index); err == nil {
		m.Inverse, err = upload(t.backend, inverse)
	}
	return m, err
}

// due reports whether the anchor is (re)taken before this step, and active whether it is used at all.
func (g Gram) due(step, taken int) bool {
	switch {
	case step < g.First:
		return false
	case taken == 0:
		return true
	}
	return g.Every > 0 && taken <= g.Times && (step-g.First)%g.Every == 0
}

// features is the normalised-norm patch tokens of the unmasked global crops [crops·N, D], in the arena.
func (a *anchor) features(t *autograd.Tape, groups []nn.Group) *tensor.Tensor {
	var out *tensor.Tensor
	t.NoGrad(func() {
		tokens := a.model.Forward(t, a.layout, groups, nn.Options{}).Tokens
		patches := t.Gather(tokens, a.own)
		t.Release(tokens)
		out = t.Keep(patches)
	})
	return out
}
