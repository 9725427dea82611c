package ssl

import (
	"fmt"
	"strings"

	"github.com/dino-mx/dmx/tensor"
)

// NonFiniteError stops a run whose losses or gradients stayed non-finite. Every such step was skipped: weights,
// moments, teacher and centres are those of the last good step.
type NonFiniteError struct {
	Step  int      // index of the last step
	Count int      // consecutive steps
	Parts []string // what was not finite: loss parts, or "gradient"
	Cause string   // the diagnosis, with a remedy
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("step %d: %s not finite for %d steps in a row: %s; the weights are those before these steps",
		e.Step, strings.Join(e.Parts, ", "), e.Count, e.Cause)
}

// diagnose looks for what made the step fail.
func (t *Trainer) diagnose(batch Batch, m *Metrics) error {
	e := &NonFiniteError{Step: t.steps, Count: t.bad}
	for _, p := range []struct {
		name  string
		value float64
	}{{"DINO loss (global)", m.DINOGlobal}, {"DINO loss (local)", m.DINOLocal}, {"iBOT loss", m.IBOT}, {"KoLeo loss", m.KoLeo}, {"Gram loss", m.Gram}} {
		if !finite(p.value) {
			e.Parts = append(e.Parts, p.name)
		}
	}
	if len(e.Parts) == 0 {
		e.Parts = []string{"gradient"}
	}
	switch {
	case !allFinite(batch.Globals) || !allFinite(batch.Locals):
		e.Cause = "the images themselves hold NaN or infinity; check dataset.mean, dataset.std and the files"
	case t.badParameter() != "":
		e.Cause = "the weights of " + t.badParameter() + " hold NaN or infinity; the weights the run started from are damaged"
	case t.dtype == tensor.BF16:
		e.Cause = "images and weights are finite: the activations overflow; lower train.lr, set train.clip_grad=3, lengthen train.warmup_iterations, or set distribution.mixed_precision=no"
	default:
		e.Cause = "images and weights are finite: the activations overflow; lower train.lr, set train.clip_grad=3, or lengthen train.warmup_iterations"
	}
	return e
}

func allFinite(x *tensor.Tensor) bool {
	if x == nil {
		return true
	}
	for i := range x.Len() {
		if !finite(x.At(i)) {
			return false
		}
	}
	return true
}

// badParameter names the first parameter of the student that is not finite.
func (t *Trainer) badParameter() string {
	for _, p := range t.Student.parts() {
		for _, q := range p.params.All() {
			if q.Shape.Len() > 0 && !allFinite(download(t.backend, q.Value())) {
				return q.Name
			}
		}
	}
	return ""
}
