package ssl

import "github.com/dino-mx/dmx/ssl/loss"

// Metrics is what one step reports.
type Metrics struct {
	Step int // index of the step in the schedules, from 0

	LR, WeightDecay, Momentum, TeacherTemp float64
	Masked                                 int // masked patches of the step

	// Measured tells whether the numbers below were read from the device at this step.
	Measured bool
	Loss     float64    // the sum of Losses
	Losses   []PartLoss // every term's parts, in the order of the objective
	Norm     float64    // the gradient norm before clipping

	// Skipped: the loss or a gradient was not finite, and nothing was updated.
	Skipped bool

	// Watched tells whether Health was looked at in this step.
	Watched bool
	loss.Health
	// Collapses are the signs of collapse at a watched step.
	Collapses []Collapse
}

// PartLoss is one weighted contribution to the loss.
type PartLoss struct {
	loss.Part
	Value float64
}

// Of returns the contribution with the given key, 0 if the objective has none.
func (m *Metrics) Of(key string) float64 {
	for _, l := range m.Losses {
		if l.Key == key {
			return l.Value
		}
	}
	return 0
}
