package ssl

import (
	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// snapshot is the snapshot teacher in a trainer: a copy of the teacher's backbone as it was at some step.
type snapshot struct {
	when  Snapshot
	model *nn.ViT
	taken int             // how often it was copied
	rows  autograd.RowMap // the patches of the global crops of a micro-batch, in the teacher's layout
}

func newSnapshot(t *Trainer, from *Teacher) (a *snapshot, err error) {
	a = &snapshot{when: t.Settings.Gram.Snapshot, model: from.Backbone}
	a.rows, err = patchRows(t, t.plan.teacher)
	return a, err
}

// patchRows selects the patches of the global crops out of the packed tokens of a layout.
func patchRows(t *Trainer, l *nn.Layout) (autograd.RowMap, error) {
	var rows []int32
	g := l.Groups[0]
	for i := range g.Batch {
		for p := range g.Patches() {
			rows = append(rows, l.Row(0, i, p))
		}
	}
	return autograd.NewRowMap(t.backend, rows, l.Tokens)
}

// due reports whether a snapshot that was taken a number of times before is taken (again) before a step.
func (s Snapshot) due(step, taken int) bool {
	switch {
	case step < s.First:
		return false
	case taken == 0:
		return true
	}
	return s.Every > 0 && taken <= s.Times && (step-s.First)%s.Every == 0
}

// refresh copies the teacher when it is due.
func (a *snapshot) refresh(t *Trainer) {
	if !a.when.due(t.steps, a.taken) {
		return
	}
	if err := a.model.Params.CopyFrom(t.backend, t.Teacher.Backbone.Params); err != nil {
		panic(err) // made from the same configuration
	}
	a.taken++
}

// patches is the patch tokens of the unmasked global crops of a micro-batch [crops·N, D], in the arena; nil before the
// first copy.
func (a *snapshot) patches(t *Trainer, m *microBatch) (out *tensor.Tensor) {
	if t.steps < a.when.First {
		return nil
	}
	globals := [1]nn.Group{{Images: m.groups[0].Images}}
	t.tape.NoGrad(func() {
		tokens := a.model.Forward(t.tape, t.plan.teacher, globals[:], nn.Options{}).Tokens
		patches := t.tape.Gather(tokens, a.rows)
		t.tape.Release(tokens)
		out = t.tape.Detach(patches)
	})
	return out
}
