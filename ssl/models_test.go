package ssl

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/tensor"
)

// Adapters stand before weights are loaded, what is frozen is frozen before the optimiser allocates, and the teacher is
// a copy of what was loaded.
func TestBuildOrder(t *testing.T) {
	s := micro()
	s.LoRA = &nn.LoRAConfig{Rank: 2, Alpha: 4, Targets: []string{"query", "value"}}
	seen := 0
	m, err := Build(newCPU(t, 1), tensor.F32, s, Sources{Student: func(n *Network) error {
		seen = len(n.Adapters)
		if n.Backbone.Params.ByName("encoder.layer.0.attention.attention.query.lora_A.weight") == nil {
			t.Error("weights are loaded before the adapters stand")
		}
		n.Backbone.CLS.Master.Set(0, 0.75)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if seen != 2*s.Backbone.Depth || m.Teacher.Rule != RuleEMA {
		t.Errorf("%d adapters, teacher %s", seen, m.Teacher.Rule)
	}
	if x := m.Teacher.Backbone.CLS.Master.At(0); x != 0.75 {
		t.Errorf("the teacher has %v where 0.75 was loaded into the student", x)
	}
	tr, err := NewTrainer(m)
	if err != nil {
		t.Fatal(err)
	}
	adapters := 0
	for _, x := range tr.opt.State() {
		switch {
		case strings.Contains(x.Name, "lora_"):
			adapters++
		case strings.HasPrefix(x.Name, "backbone/"):
			t.Errorf("the frozen %s has moments", x.Name)
		}
	}
	if adapters != 2*seen {
		t.Errorf("%d tensors of adapters have moments, want %d", adapters, 2*seen)
	}
	failed := errors.New("no such file")
	if _, err := Build(newCPU(t, 1), tensor.F32, s, Sources{Student: func(*Network) error { return failed }}); !errors.Is(err, failed) {
		t.Errorf("error %v", err)
	}
}

// Adapters train: the trunk stays as it is, the adapters of student and teacher move, and a run resumes to the same
// bits.
func TestTrainLoRA(t *testing.T) {
	b := newCPU(t, 2)
	s := micro()
	s.LoRA = &nn.LoRAConfig{Rank: 2, Alpha: 4, Dropout: 0.1, Targets: []string{"query", "value", "fc1"}, Bias: nn.LoRABiasOnly}
	tr := trainer(t, b, s)
	before := saved(t, tr)
	frozen := bytesOf(tr.Student.Backbone.Params.ByName("encoder.layer.0.attention.attention.query.weight"))
	moved := tr.Teacher.Backbone.Params.ByName("encoder.layer.1.mlp.fc1.lora_B.weight")
	train(t, tr, 4)
	dir := t.TempDir()
	if err := tr.Save(dir); err != nil {
		t.Fatal(err)
	}
	train(t, tr, 8)
	resumed := trainer(t, b, s)
	if same, err := resumed.Load(dir); err != nil || !same {
		t.Fatal(same, err)
	}
	train(t, resumed, 8)
	sameState(t, saved(t, tr), saved(t, resumed))
	if string(frozen) != string(bytesOf(tr.Student.Backbone.Params.ByName("encoder.layer.0.attention.attention.query.weight"))) {
		t.Error("the trunk has moved")
	}
	if sum := norm(moved.Value()); sum == 0 || math.IsNaN(sum) {
		t.Errorf("the teacher's adapters have norm %v", sum)
	}
	if string(before[studentFile]) == string(saved(t, tr)[studentFile]) {
		t.Error("nothing was trained")
	}
	other := s
	other.LoRA = &nn.LoRAConfig{Rank: 2, Alpha: 4, Dropout: 0.1, Targets: []string{"query"}}
	if other.Fingerprint() == s.Fingerprint() {
		t.Error("other targets pass as the same settings")
	}
}

func bytesOf(p *nn.Param) []byte { return append([]byte(nil), p.Value().Bytes()...) }

func norm(x *tensor.Tensor) (sum float64) {
	for i := range x.Len() {
		sum += x.At(i) * x.At(i)
	}
	return sum
}

// distilled is a recipe with a frozen teacher that is deeper, wider and has larger patches.
func distilled() Settings {
	s := micro()
	s.IBOT.Weight = nil
	s.Teacher = &NetworkShape{Backbone: s.Backbone, Head: nn.HeadConfig{Hidden: 20, Bottleneck: 9, Prototypes: 10, Layers: 2, WeightNorm: true}}
	c := &s.Teacher.Backbone
	c.Dim, c.Depth, c.PatchSize, c.MLPDim = 12, 3, 4, 24
	return s
}

// A frozen teacher of another patch size, width, depth and head teaches, and stays as it is.
func TestFrozenTeacher(t *testing.T) {
	s := distilled()
	b := newCPU(t, 2)
	build := func(s Settings) *Trainer {
		t.Helper()
		m, err := Build(b, tensor.F32, s, Sources{Teacher: fillWith(initialWave)})
		if err != nil {
			t.Fatal(err)
		}
		tr, err := NewTrainer(m)
		if err != nil {
			t.Fatal(err)
		}
		tr.tape.A.Poison = true
		return tr
	}
	tr := build(s)
	before := weights(t, tr)
	m := train(t, tr, 4)
	dir := t.TempDir()
	if err := tr.Save(dir); err != nil {
		t.Fatal(err)
	}
	train(t, tr, 8)
	moved := 0
	for name, x := range weights(t, tr) {
		if same := string(x) == string(before[name]); strings.HasPrefix(name, "teacher ") && !same {
			t.Errorf("%s has moved", name)
		} else if !same {
			moved++
		}
	}
	if moved == 0 || m.Loss <= 0 || tr.Teacher.Rule != RuleFrozen {
		t.Errorf("%d tensors of the student have moved; %+v", moved, m)
	}
	resumed := build(s)
	if same, err := resumed.Load(dir); err != nil || !same {
		t.Fatal(same, err)
	}
	train(t, resumed, 8)
	sameState(t, saved(t, tr), saved(t, resumed))
	deeper, shape := s, *s.Teacher
	shape.Backbone.Depth++
	deeper.Teacher = &shape
	if deeper.FLOPs(0) <= s.FLOPs(0) {
		t.Error("a deeper teacher does not count for more")
	}
	// In parts it is the same step.
	one, three := build(s), s
	three.MicroBatches = 3
	x, err := one.Step(batches(&s, 0))
	if err != nil {
		t.Fatal(err)
	}
	parts := build(three)
	y, err := parts.Step(batches(&s, 0))
	if err != nil {
		t.Fatal(err)
	}
	sameOutcome(t, outcome(t, one, x), outcome(t, parts, y), 1e-6)
}

// What a frozen teacher must have in common with the student is named where it has not.
func TestTeacherErrors(t *testing.T) {
	for want, change := range map[string]func(s *Settings){
		"a frozen teacher needs weights to load": func(*Settings) {},
		"has prototypes 11, the student 10":      func(s *Settings) { s.Teacher.Head.Prototypes = 11 },
		"has image channels 3, the student 1":    func(s *Settings) { s.Teacher.Backbone.Channels = 3 },
		"patches of a global crop [2 2]":         func(s *Settings) { s.IBOT = micro().IBOT },
		"a frozen teacher does not": func(s *Settings) {
			s.Teacher.Backbone.PatchSize = 2
			s.Gram.Weight = optim.Constant(1)
		},
	} {
		s := distilled()
		change(&s)
		if _, err := Build(ref.New(), tensor.F64, s, Sources{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
