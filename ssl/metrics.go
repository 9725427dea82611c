package ssl

// Metrics is what one step reports. Losses are weighted contributions: the parts sum to Loss.
type Metrics struct {
	Step int // index of the step in the schedules, from 0

	LR, WeightDecay, Momentum, TeacherTemp float64
	Masked                                 int // masked patches of the step

	// Measured tells whether the numbers below were read from the device at this step.
	Measured                                             bool
	Loss, DINOGlobal, DINOLocal, IBOT, KoLeo, Gram, Norm float64 // Norm is the gradient norm before clipping

	// Skipped: the loss or a gradient was not finite, and nothing was updated.
	Skipped bool

	// Watched tells whether the numbers below were looked at in this step.
	Watched bool
	// FeatureStd is the standard deviation of the normalised teacher features times √D (see Watch).
	FeatureStd float64
	// PrototypeEntropy is the entropy of the mean teacher probabilities over ln K: 1 when all prototypes are
	// used alike. TargetEntropy is the mean entropy of single targets over ln K.
	PrototypeEntropy, TargetEntropy float64
	// KL is the mean divergence KL(teacher ‖ student) over the DINO pairs, in nats.
	KL float64
	// Collapses are the signs of collapse at a watched step.
	Collapses []Collapse
}
