package ssl

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/tensor"
)

// Models is the networks of a run, ready to train.
type Models struct {
	Settings Settings
	Student  *Network
	Teacher  *Teacher
	Snapshot *Teacher // nil where no term reads one

	backend kernels.Backend
	dtype   tensor.DType
}

// Sources says where weights come from. A function fills the networks it is given in place, strictly: what it does not
// find it reports. It leaves adapters and heads alone that it has nothing for; these keep their initial values.
type Sources struct {
	// Student fills the student; nil leaves it as it was drawn from Settings.Seed.
	Student func(n *Network) error
	// Teacher fills a frozen teacher, backbone and heads. Others start as a copy of the student.
	Teacher func(n *Network) error
}

// Build makes the networks of a recipe in memory of b. dtype is the working type (f32, bf16, or f64 in the oracle).
//
// The order is always the same: the student is built and drawn, adapters are put on it, weights are loaded, parameters
// are frozen, and teachers follow. So adapters stand when weights are loaded, and what is trained is decided before a
// teacher is copied and an optimiser allocates its moments.
func Build(b kernels.Backend, dtype tensor.DType, s Settings, from Sources) (_ *Models, err error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	defer tensor.CatchOutOfMemory(&err)
	m := &Models{Settings: s, backend: b, dtype: dtype}
	build := nn.Builder{Backend: b, DType: dtype, Train: true}
	if m.Student, err = newNetwork(build, s.student(), s.LoRA); err != nil {
		return nil, err
	}
	m.Student.init(b, s.Seed)
	if from.Student != nil {
		if err := from.Student(m.Student); err != nil {
			return nil, err
		}
		m.Student.sync(b)
	}
	m.freeze()
	if m.Teacher, err = newTeacher(m, from.Teacher); err != nil {
		return nil, err
	}
	if !loss.Off(s.Gram.Weight) {
		m.Snapshot, err = newSnapshotTeacher(m)
	}
	return m, err
}

// freeze decides which parameters are trained.
func (m *Models) freeze() {
	s, v := &m.Settings, m.Student.Backbone
	if s.FreezeBlocks > 0 {
		v.FreezeBlocks(s.FreezeBlocks, true)
	}
	if loss.Off(s.IBOT.Weight) && v.MaskToken != nil {
		// Never shown, it would only be shrunk by weight decay.
		v.Params.Freeze(nn.NamePrefix("embeddings.mask_token"))
	}
}

// modules pairs the student's parts with those of the teacher that follow them, for the optimiser.
func (m *Models) modules() []optim.Module {
	var ms []optim.Module
	teacher := m.Teacher.parts()
	for i, p := range m.Student.parts() {
		x := optim.Module{Name: p.name, Params: p.params, Depth: m.Student.Backbone.Config.Depth}
		if m.Teacher.Rule == RuleEMA {
			x.Teacher = teacher[i].params
		}
		ms = append(ms, x)
	}
	return ms
}

// Rule says how the weights of a teacher come to be.
type Rule uint8

// The rules.
const (
	RuleEMA      Rule = iota // a moving average of the student, which starts as its copy
	RuleFrozen               // weights of its own that stay as they are: distillation
	RuleSnapshot             // a copy of the EMA teacher as it was at some step: Gram anchoring
)

// String returns the word for the rule.
func (r Rule) String() string {
	switch r {
	case RuleEMA:
		return "EMA"
	case RuleFrozen:
		return "frozen"
	case RuleSnapshot:
		return "snapshot"
	}
	return fmt.Sprintf("Rule(%d)", uint8(r))
}

// Teacher is a network that the student learns from, without gradients.
type Teacher struct {
	*Network // a snapshot has no heads
	Rule     Rule
}

// newTeacher makes the teacher of the DINO and iBOT targets.
func newTeacher(m *Models, load func(n *Network) error) (*Teacher, error) {
	s := &m.Settings
	shape, rule, lora := s.student(), RuleEMA, s.LoRA
	if s.Teacher != nil {
		shape, rule, lora = *s.Teacher, RuleFrozen, nil
	}
	n, err := newNetwork(nn.Builder{Backend: m.backend, DType: m.dtype}, shape, lora)
	if err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	t := &Teacher{Network: n, Rule: rule}
	if rule == RuleEMA {
		return t, n.copyFrom(m.backend, m.Student)
	}
	if load == nil {
		return nil, fmt.Errorf("teacher: a frozen teacher needs weights to load")
	}
	n.init(m.backend, s.Seed)
	if err := load(n); err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	n.sync(m.backend)
	return t, nil
}

// newSnapshotTeacher makes the memory of a copy of the teacher's backbone.
func newSnapshotTeacher(m *Models) (*Teacher, error) {
	build := nn.Builder{Backend: m.backend, DType: m.dtype}
	v, err := build.NewViT(m.Teacher.Backbone.Config)
	if err == nil && m.Settings.LoRA != nil {
		_, err = build.AddLoRA(v, *m.Settings.LoRA)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return &Teacher{Network: &Network{Backbone: v}, Rule: RuleSnapshot}, nil
}
