package ssl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// NonFiniteError stops a run whose losses or gradients stayed non-finite. Every such step was skipped: weights,
// moments, teacher and centres are those of the last good step.
type NonFiniteError struct {
	Step  int      // index of the last step
	Count int      // consecutive measured steps
	Parts []string // what was not finite: loss parts, or "gradient"
	Cause NonFiniteCause
	// Parameter is the name of a parameter that is not finite, if Cause is NonFiniteWeights.
	Parameter string
	// DType is the type of the activations.
	DType tensor.DType
}

// NonFiniteCause says where the first values that are not finite came from.
type NonFiniteCause int

// Causes of a NonFiniteError.
const (
	NonFiniteImages      NonFiniteCause = iota // the images of the batch
	NonFiniteWeights                           // the weights
	NonFiniteActivations                       // neither: the activations overflow
)

func (e *NonFiniteError) Error() string {
	cause := "images and weights are finite: the activations overflow"
	switch e.Cause {
	case NonFiniteImages:
		cause = "the images themselves hold NaN or infinity"
	case NonFiniteWeights:
		cause = "the weights of " + e.Parameter + " hold NaN or infinity"
	}
	return fmt.Sprintf("step %d: %s not finite for %d measured steps in a row: %s; the weights are those before these steps",
		e.Step, strings.Join(e.Parts, ", "), e.Count, cause)
}

// diagnose looks for what made the step fail.
func (t *Trainer) diagnose(batch Batch, m *Metrics) error {
	e := &NonFiniteError{Step: t.steps, Count: t.bad, DType: t.dtype, Cause: NonFiniteActivations}
	for _, l := range m.Losses {
		if !finite(l.Value) {
			e.Parts = append(e.Parts, l.Title)
		}
	}
	if len(e.Parts) == 0 {
		e.Parts = []string{"gradient"}
	}
	if slices.ContainsFunc(batch.Views, func(x *tensor.Tensor) bool { return !allFinite(x) }) {
		e.Cause = NonFiniteImages
	} else if e.Parameter = t.badParameter(); e.Parameter != "" {
		e.Cause = NonFiniteWeights
	}
	return e
}

func allFinite(x *tensor.Tensor) bool {
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
			if q.Shape.Len() > 0 && !allFinite(kernels.ToHost(t.backend, q.Value())) {
				return q.Name
			}
		}
	}
	return ""
}
