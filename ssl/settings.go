package ssl

import (
	"fmt"

	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/mask"
)

// Settings describe a recipe and a run to a Trainer.
type Settings struct {
	Seed uint64
	// Batch is the number of images B of a step; LocalCrops the number L of local crops of an image. There are
	// always two global crops.
	Batch, LocalCrops int
	// Channels and sizes of the crops in pixels.
	GlobalSize, LocalSize int

	Backbone  nn.ViTConfig
	DINO      DINO
	IBOT      IBOT
	KoLeo     KoLeo
	Gram      Gram
	Targets   Targets
	Schedules Schedules
	Optim     optim.Options
	Watch     Watch

	// FreezeBlocks freezes the first blocks of the student and its embeddings.
	FreezeBlocks int
	// Recompute keeps only the input of every block of the student and computes the block again in backward.
	Recompute bool
	// MeasureEvery is the number of steps between metrics that need the device's results, the watch's included; other
	// steps report their schedules alone and are not waited for. 0 counts as 1. On the CPU every step is measured. A
	// step that is not measured and not finite is skipped by the device itself, without being reported.
	MeasureEvery int
}

// DINO is the loss between CLS tokens, over all pairs of a teacher's global crop and another student crop. Every
// pair counts the same: the total is the mean over 2+2L pairs, as in all three recipes.
type DINO struct {
	Weight float64
	// Head is the projection head; its fields In, Depth and Prefix are filled in.
	Head nn.HeadConfig
}

// IBOT is the loss on masked patches. With Weight 0 nothing is masked.
type IBOT struct {
	Weight float64
	// Head is the patches' own projection head; nil shares that of DINO.
	Head *nn.HeadConfig
	// Mask says which patches the student does not see; its grid is filled in.
	Mask mask.Settings
}

// KoLeo is the Kozachenko-Leonenko regulariser on the CLS tokens of each global crop. 0.1 in DINOv2 and v3.
type KoLeo struct{ Weight float64 }

// Gram anchors the similarities between patches to those of an earlier teacher (DINOv3, section 5.4 of its
// paper). With Weight 0 it costs nothing.
type Gram struct {
	Weight float64
	// First is the step at which the anchor is taken from the teacher; the loss is 0 before. Every refreshes it,
	// at most Times times after the first (0 Every: never).
	First, Every, Times int
	// RemoveNegative sets negative similarities of both sides to 0.
	RemoveNegative bool
}

// Targets say how teacher logits become probabilities.
type Targets struct {
	// Sinkhorn takes three Sinkhorn-Knopp rounds over the batch instead of subtracting the moving centre.
	Sinkhorn       bool
	StudentTemp    float64
	CentreMomentum float64
}

// Schedules are the numbers that change from step to step.
type Schedules struct {
	LR, WeightDecay, Momentum, TeacherTemp optim.Schedule
	// FreezeLastLayer is the number of first steps in which the prototypes stand still, in the manner of
	// LastLayer (LastLayerSkipped or LastLayerHeld).
	FreezeLastLayer int
	LastLayer       optim.LastLayer
}

// Watch bounds what counts as healthy training.
type Watch struct {
	// Every is the number of steps between looks at features and prototypes; 0 switches them off.
	Every int
	// FeatureStdMin is the least standard deviation of the L2-normalised teacher features, averaged over
	// channels and times √D, so that 1 is what independent features have.
	FeatureStdMin float64
	// PrototypeEntropyMin is the least entropy of the mean teacher probabilities, over ln K.
	PrototypeEntropyMin float64
	// MaxNonFinite is the number of consecutive steps with a non-finite loss or gradient that are skipped; one
	// more stops the run.
	MaxNonFinite int
}

// Validate names the first setting that makes no recipe.
func (s *Settings) Validate() error {
	bad := func(field string, value any, want string) error {
		return fmt.Errorf("training settings: %s is %v; it must be %s", field, value, want)
	}
	if err := s.Backbone.Validate(); err != nil {
		return err
	}
	p := s.Backbone.PatchSize
	switch {
	case s.Batch < 1:
		return bad("batch size", s.Batch, "at least 1")
	case s.LocalCrops < 0:
		return bad("local crops", s.LocalCrops, "0 or more")
	case s.GlobalSize < p:
		return bad("global crop size", s.GlobalSize, fmt.Sprintf("at least one patch of %d", p))
	case s.LocalCrops > 0 && s.LocalSize < p:
		return bad("local crop size", s.LocalSize, fmt.Sprintf("at least one patch of %d", p))
	case s.DINO.Weight < 0 || s.IBOT.Weight < 0 || s.KoLeo.Weight < 0 || s.Gram.Weight < 0:
		return bad("loss weight", "negative", "0 or more")
	case s.DINO.Weight == 0 && s.IBOT.Weight == 0:
		return bad("loss weights", "0", "above 0 for DINO or iBOT")
	case s.IBOT.Weight > 0 && !s.Backbone.MaskToken:
		return bad("mask token of the backbone", "absent", "present for the iBOT loss")
	case !(s.Targets.StudentTemp > 0):
		return bad("student temperature", s.Targets.StudentTemp, "positive")
	case !(s.Targets.CentreMomentum >= 0 && s.Targets.CentreMomentum <= 1):
		return bad("centre momentum", s.Targets.CentreMomentum, "in [0, 1]")
	case s.Schedules.LR == nil || s.Schedules.WeightDecay == nil || s.Schedules.Momentum == nil || s.Schedules.TeacherTemp == nil:
		return bad("schedules", "incomplete", "given for learning rate, weight decay, momentum and teacher temperature")
	case s.FreezeBlocks < 0 || s.FreezeBlocks > s.Backbone.Depth:
		return bad("frozen blocks", s.FreezeBlocks, fmt.Sprintf("between 0 and %d", s.Backbone.Depth))
	}
	if s.IBOT.Weight > 0 {
		return s.maskSettings().Validate()
	}
	return nil
}

// maskSettings is IBOT.Mask with the grid of the global crops.
func (s *Settings) maskSettings() mask.Settings {
	m := s.IBOT.Mask
	m.GridH, m.GridW = s.GlobalSize/s.Backbone.PatchSize, s.GlobalSize/s.Backbone.PatchSize
	return m
}
