package ssl

import (
	"fmt"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/ssl/mask"
	"github.com/dino-mx/dmx/tensor"
)

// Settings describe a recipe and a run to a Trainer.
type Settings struct {
	Seed uint64
	// Batch is the number of images of a step of this process.
	Batch int
	// MicroBatches is the number of parts that the images of a step pass through the networks in, one after the other,
	// so that activations of one part at a time are in memory; it divides Batch, and 0 counts as 1. Losses, targets and
	// gradients are those of the whole step: gradient accumulation.
	MicroBatches int
	// Views lists the kinds of crops of an image: one kind of global crops, which the teacher sees, and any number of
	// others, which only the student sees.
	Views []data.ViewSpec

	Backbone nn.ViTConfig
	// LoRA puts low-rank adapters on the backbone, which is frozen otherwise; nil trains all of it.
	LoRA *nn.LoRAConfig
	// Teacher is a teacher with weights of its own, which stay as they are; nil makes it the student's moving average.
	// Its heads must have as many prototypes as the student's.
	Teacher   *NetworkShape
	DINO      DINO
	IBOT      IBOT
	KoLeo     loss.KoLeo // off without weight
	Gram      Gram
	Terms     []loss.Spec // further terms of the objective
	Targets   loss.Targets
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

	// Ranks places this process among those that train together. It is no part of the recipe.
	Ranks Ranks `json:"-"`
}

// Ranks is a process's place among Count that train one model together on one batch: process Index has the images
// from Index·Batch on. The zero value is a process that trains alone.
type Ranks struct {
	Index, Count int
	// Reduce adds a tensor over all processes, in place, in each of them. point names the place in the step; all
	// processes pass the same points in the same order.
	Reduce func(point string, x *tensor.Tensor)
}

// DINO is the loss between CLS tokens; see loss.DINO. It is always part of the objective.
type DINO struct {
	Weight optim.Schedule
	// Head is the projection head; its fields In, Depth and Prefix are filled in.
	Head nn.HeadConfig
}

// IBOT is the loss on masked patches; see loss.IBOT. Without weight nothing is masked.
type IBOT struct {
	Weight optim.Schedule
	// Head is the patches' own projection head; nil shares that of DINO.
	Head *nn.HeadConfig
	// Mask says which patches the student does not see; its grid is filled in.
	Mask mask.Settings
}

// Gram is the loss on the similarities of patches; see loss.Gram. Without weight it costs nothing.
type Gram struct {
	loss.Gram
	// Snapshot says when the teacher is copied for it. The loss is 0 before the first copy.
	Snapshot Snapshot
}

// Snapshot says when a copy of the teacher is taken: before step First, then every Every steps (0: never) at most
// Times times more.
type Snapshot struct{ First, Every, Times int }

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
	if err := s.validateViews(); err != nil {
		return err
	}
	if err := s.validateTeacher(); err != nil {
		return err
	}
	switch {
	case s.Batch < 1:
		return bad("batch size", s.Batch, "at least 1")
	case s.Batch%s.microBatches() != 0:
		return bad("batch size", s.Batch, fmt.Sprintf("divisible into %d micro-batches", s.microBatches()))
	case negative(s.DINO.Weight) || negative(s.IBOT.Weight) || negative(s.KoLeo.Weight) || negative(s.Gram.Weight):
		return bad("loss weight", "negative", "0 or more")
	case loss.Off(s.DINO.Weight) && loss.Off(s.IBOT.Weight) && len(s.Terms) == 0:
		return bad("loss weights", "0", "above 0 for DINO or iBOT")
	case !loss.Off(s.IBOT.Weight) && !s.Backbone.MaskToken:
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
	if !loss.Off(s.IBOT.Weight) {
		return s.maskSettings().Validate()
	}
	return nil
}

// validateTeacher names what a frozen teacher does not have in common with the student.
func (s *Settings) validateTeacher() error {
	if s.Teacher == nil {
		return nil
	}
	if err := s.Teacher.Backbone.Validate(); err != nil {
		return fmt.Errorf("teacher: %w", err)
	}
	n, t := s.student(), s.Teacher
	bad := func(what string, teacher, student any) error {
		return fmt.Errorf("training settings: the frozen teacher has %s %v, the student %v; they must be equal", what, teacher, student)
	}
	g, masked := s.globalView(), !loss.Off(s.IBOT.Weight)
	grid := func(p int) [2]int { return [2]int{g.Height / p, g.Width / p} }
	switch {
	case t.Backbone.Channels != n.Backbone.Channels:
		return bad("image channels", t.Backbone.Channels, n.Backbone.Channels)
	case t.Head.Prototypes != n.Head.Prototypes:
		return bad("prototypes", t.Head.Prototypes, n.Head.Prototypes)
	case masked && (t.PatchHead == nil) != (n.PatchHead == nil):
		return bad("a head for patches:", t.PatchHead != nil, n.PatchHead != nil)
	case masked && t.patchHead().Prototypes != n.patchHead().Prototypes:
		return bad("prototypes for patches", t.patchHead().Prototypes, n.patchHead().Prototypes)
	case (masked || !loss.Off(s.Gram.Weight)) && grid(t.Backbone.PatchSize) != grid(n.Backbone.PatchSize):
		return bad("patches of a global crop", grid(t.Backbone.PatchSize), grid(n.Backbone.PatchSize))
	case !loss.Off(s.Gram.Weight):
		return fmt.Errorf("training settings: Gram anchoring copies a teacher that moves; a frozen teacher does not")
	}
	return nil
}

// negative reports whether a weight starts below 0.
func negative(w optim.Schedule) bool { return w != nil && w.At(0) < 0 }

// maskSettings is IBOT.Mask with the grid of the global crops.
func (s *Settings) maskSettings() mask.Settings {
	m, p, g := s.IBOT.Mask, s.Backbone.PatchSize, s.globalView()
	m.GridH, m.GridW = g.Height/p, g.Width/p
	return m
}

// microBatches is MicroBatches with its default.
func (s *Settings) microBatches() int { return max(1, s.MicroBatches) }

// total is the number of images of a step of all processes.
func (s *Settings) total() int { return s.Batch * max(1, s.Ranks.Count) }

// objective lists the terms of the recipe.
func (s *Settings) objective() []loss.Spec {
	weight := func(w optim.Schedule) optim.Schedule {
		if w == nil {
			return optim.Constant(0)
		}
		return w
	}
	list := []loss.Spec{loss.DINO{Weight: weight(s.DINO.Weight), Targets: s.Targets}}
	if !loss.Off(s.IBOT.Weight) {
		list = append(list, loss.IBOT{Weight: s.IBOT.Weight, Targets: s.Targets})
	}
	if !loss.Off(s.KoLeo.Weight) {
		list = append(list, s.KoLeo)
	}
	if !loss.Off(s.Gram.Weight) {
		list = append(list, s.Gram.Gram)
	}
	return append(list, s.Terms...)
}

// env is the shapes that terms are made for; device and types are left to fill in.
func (s *Settings) env() loss.Env {
	g, p, n, t := s.globalView(), s.Backbone.PatchSize, s.student(), s.teacher()
	return loss.Env{
		DType: tensor.F32, Stat: tensor.F32,
		Images: s.Batch / s.microBatches(), Local: s.Batch, Total: s.total(),
		Globals: g.Count, Locals: s.crops() - g.Count, Dim: s.Backbone.Dim, Patches: (g.Height / p) * (g.Width / p),
		TeacherDim: t.Backbone.Dim, CLSHead: n.Head, MaskedHead: n.patchHead(),
		TeacherCLSHead: t.Head, TeacherMaskedHead: t.patchHead(), MaxMasked: s.maxMasked(),
		ChunkBytes: chunkBytes, Reduce: s.Ranks.Reduce, Processes: max(1, s.Ranks.Count),
	}
}

// chunkBytes bounds the logits that exist at a time; tests make it small.
var chunkBytes = loss.DefaultChunkBytes

// maxMasked is the largest number of masked patches of a step of this process.
func (s *Settings) maxMasked() int {
	if loss.Off(s.IBOT.Weight) {
		return 0
	}
	m, globals := s.maskSettings(), s.globalView().Count
	return min(m.MaxPatches(globals*s.total()), globals*s.Batch*m.GridH*m.GridW)
}
