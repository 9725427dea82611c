package ssl

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/tensor"
)

// ErrNothingMasked is the error of mask settings with which no patch is ever masked.
var ErrNothingMasked = errors.New("no patch is ever masked")

// Trainer holds student, teacher, optimiser and the terms of the objective, and makes steps. It belongs to one
// goroutine.
type Trainer struct {
	Settings Settings
	Student  *Network
	Teacher  *Teacher

	backend kernels.Backend
	dtype   tensor.DType
	stat    tensor.DType
	tape    *autograd.Tape
	opt     *optim.AdamW
	steps   int // done
	bad     int // consecutive steps that were skipped
	// reserved: the arena has its final size.
	reserved bool

	images int  // of a micro-batch
	plan   plan // what depends on shapes alone
	env    loss.Env
	terms  []term
	losses *tensor.Tensor // [parts of all terms]

	snapshot *snapshot // of the teacher, for the terms that read one; nil for none
	targets  targets
	watched  *loss.Observation // nil when nobody watches
	feed     *feed             // nil until a batch is staged
	draw     draw
}

// term is a term of the objective with the places of its parts in Trainer.losses.
type term struct {
	loss.Term
	spec   loss.Spec
	reads  loss.Reads
	parts  []loss.Part
	lo, hi int
}

// plan is the layouts of the packed tokens of a micro-batch, and the rows of its CLS tokens, image by image.
type plan struct {
	student, teacher       *nn.Layout
	studentCLS, teacherCLS []int32
	globals                *nn.Layout      // of the student's global crops alone
	globalsCLS             []int32         // their CLS tokens in it, image by image
	patches                autograd.RowMap // the patches of the global crops, where a term reads them
}

// NewTrainer makes the trainer of models that were built.
func NewTrainer(m *Models) (_ *Trainer, err error) {
	defer tensor.CatchOutOfMemory(&err)
	s := m.Settings
	t := &Trainer{
		Settings: s, Student: m.Student, Teacher: m.Teacher, backend: m.backend, dtype: m.dtype, images: s.Batch / s.microBatches(),
	}
	t.tape = nn.Builder{Backend: m.backend, DType: m.dtype, Train: true}.NewTape()
	t.stat = t.tape.StatType()
	if t.opt, err = optim.NewAdamW(m.backend, m.modules(), s.Optim); err != nil {
		return nil, err
	}
	if err := t.makePlan(); err != nil {
		return nil, err
	}
	if err := t.makeDraw(); err != nil {
		return nil, err
	}
	if err := t.makeTerms(); err != nil {
		return nil, err
	}
	if m.Snapshot != nil {
		if t.snapshot, err = newSnapshot(t, m.Snapshot); err != nil {
			return nil, err
		}
	}
	t.settle()
	return t, t.backend.Sync()
}

// Objective returns the names of the terms in their order, such as "DINO + iBOT + KoLeo".
func (t *Trainer) Objective() string {
	var names []string
	for i := range t.terms {
		name, _, _ := strings.Cut(t.terms[i].Parts()[0].Title, " loss")
		names = append(names, name)
	}
	return strings.Join(names, " + ")
}

// Steps is the number of steps done: the index of the next one.
func (t *Trainer) Steps() int { return t.steps }

// makePlan makes the layouts of a micro-batch.
func (t *Trainer) makePlan() (err error) {
	s, p, b := &t.Settings, &t.plan, t.images
	if p.teacher, err = t.Teacher.Backbone.Layout(s.shapes(1, b)); err != nil {
		return err
	}
	if p.student, err = t.Student.Backbone.Layout(s.shapes(len(s.Views), b)); err != nil {
		return err
	}
	if p.globals, err = t.Student.Backbone.Layout(s.shapes(1, b)); err != nil {
		return err
	}
	for i := range b {
		for g, v := range s.Views {
			for c := range v.Count {
				p.studentCLS = append(p.studentCLS, p.student.CLSRow(g, c*b+i))
				if g == 0 {
					p.teacherCLS = append(p.teacherCLS, p.teacher.CLSRow(g, c*b+i))
					p.globalsCLS = append(p.globalsCLS, p.globals.CLSRow(g, c*b+i))
				}
			}
		}
	}
	return nil
}

// makeTerms makes the terms of the objective, and the memory of what they read.
func (t *Trainer) makeTerms() (err error) {
	s, b := &t.Settings, t.backend
	t.env = s.env()
	t.env.Backend, t.env.DType, t.env.Stat = b, t.dtype, t.stat
	parts := 0
	for _, spec := range s.objective() {
		made, err := spec.New(t.env)
		if err != nil {
			return err
		}
		x := term{Term: made, spec: spec, reads: made.Reads(), parts: made.Parts(), lo: parts}
		parts += len(x.parts)
		x.hi = parts
		if err := t.checkReads(&x); err != nil {
			return err
		}
		t.terms = append(t.terms, x)
	}
	if t.losses, err = tensor.New(b.Allocator(), t.stat, parts); err != nil {
		return err
	}
	if s.Watch.Every > 0 {
		if t.watched, err = loss.NewObservation(t.env); err != nil {
			return err
		}
	}
	if t.reads().Student&loss.Patches != 0 {
		if t.plan.patches, err = patchRows(t, t.plan.student); err != nil {
			return err
		}
	}
	return t.makeTargets()
}

// checkReads refuses a term that reads what no pass of a step gives.
func (t *Trainer) checkReads(x *term) error {
	const heads = loss.CLSHead | loss.MaskedHead
	name, r := x.parts[0].Key, x.reads
	switch {
	case r.Teacher&^heads != 0:
		return fmt.Errorf("training settings: term %s reads the teacher's tokens; only the rows of its heads are kept", name)
	case r.Snapshot != 0 && loss.Off(t.Settings.Gram.Weight):
		return fmt.Errorf("training settings: term %s reads a snapshot; only Gram anchoring takes one", name)
	case r.Snapshot&^loss.Patches != 0:
		return fmt.Errorf("training settings: term %s reads more of the snapshot than the patches of the global crops", name)
	case r.Student&loss.Patches != 0 && r.Student&^loss.Patches != 0:
		return fmt.Errorf("training settings: term %s reads all patches and other rows of the student", name)
	case (r.Student|r.Teacher)&heads == heads && t.Student.PatchHead != nil:
		return fmt.Errorf("training settings: term %s reads the rows of both heads", name)
	}
	return nil
}

// reads is what all terms read together.
func (t *Trainer) reads() (r loss.Reads) {
	for i := range t.terms {
		x := &t.terms[i].reads
		r.Student, r.Teacher, r.Snapshot = r.Student|x.Student, r.Teacher|x.Teacher, r.Snapshot|x.Snapshot
		r.WholeBatch = r.WholeBatch || x.WholeBatch
	}
	return r
}

// settle makes the arena of a device large enough for a step before the first one: pieces that are reserved as a step
// goes on lie apart, and take more in all. What the step turns out not to need is given back behind it.
func (t *Trainer) settle() {
	if kernels.OnHost(t.backend) {
		return
	}
	t.tape.A.Coarse = true
	need := 0
	for _, x := range t.StepMemory(t.draw.most) {
		need += x.Bytes
	}
	// A tenth for rounding, small tables and what lies between tensors.
	t.tape.A.Reserve(need + need/10)
}
