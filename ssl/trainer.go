package ssl

import (
	"errors"
	"fmt"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/tensor"
)

// ErrNothingMasked is the error of mask settings with which no patch is ever masked.
var ErrNothingMasked = errors.New("no patch is ever masked")

// Trainer holds student, teacher, optimiser and centres, and makes steps. It belongs to one goroutine.
type Trainer struct {
	Settings         Settings
	Student, Teacher *Network

	backend kernels.Backend
	dtype   tensor.DType
	stat    tensor.DType
	tape    *autograd.Tape
	opt     *optim.AdamW
	steps   int // done
	bad     int // consecutive steps that were skipped
	// reserved: the arena has its final size.
	reserved bool

	student, teacher *nn.Layout
	groups           [2]nn.Group
	studentCLS       []int32 // rows of the CLS tokens, image by image
	teacherCLS       []int32
	cls, patch       *prototypeLoss
	clsWeights       *tensor.Tensor // of every DINO pair
	views            [2]autograd.RowMap
	anchor           *anchor // of the Gram loss, or nil
	losses           *tensor.Tensor
	scales           *tensor.Tensor
	watched          *observation
	feed             *feed // nil until a batch is staged
	host             hostTables
}

// hostTables is host memory that every step writes anew.
type hostTables struct {
	mask    []bool
	masked  []int32        // rows of the masked patches
	rows    []int32        // rows that the heads read
	counts  []int32        // masked patches of each crop
	weights *tensor.Tensor // [max masked] of the patch pairs
	keys    [2][]uint32
}

// The places of Trainer.losses.
const (
	lossGlobal = iota
	lossLocal
	lossIBOT
	lossKoLeo
	lossGram
	lossParts
)

// NewTrainer allocates a trainer, draws the student's weights from Settings.Seed and makes the teacher their copy.
// dtype is the working type (f32, bf16, or f64 in the oracle). To start from other weights write them into
// Student and call Adopt.
func NewTrainer(b kernels.Backend, dtype tensor.DType, s Settings) (_ *Trainer, err error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	defer tensor.CatchOutOfMemory(&err)
	t := &Trainer{Settings: s, backend: b, dtype: dtype}
	build := nn.Builder{Backend: b, DType: dtype, Train: true}
	if t.Student, err = newNetwork(build, &s); err != nil {
		return nil, err
	}
	build.Train = false
	if t.Teacher, err = newNetwork(build, &s); err != nil {
		return nil, err
	}
	t.tape = build.NewTape()
	t.stat = t.tape.StatType()
	t.Student.init(b, s.Seed)
	if s.FreezeBlocks > 0 {
		t.Student.Backbone.FreezeBlocks(s.FreezeBlocks, true)
	}
	if s.IBOT.Weight == 0 && t.Student.Backbone.MaskToken != nil {
		// Never shown, it would only be shrunk by weight decay.
		t.Student.Backbone.Params.Freeze(nn.NamePrefix("embeddings.mask_token"))
	}
	if err := t.Adopt(); err != nil {
		return nil, err
	}
	if t.opt, err = optim.NewAdamW(b, modules(t.Student, t.Teacher), s.Optim); err != nil {
		return nil, err
	}
	if err := t.plan(); err != nil {
		return nil, err
	}
	t.settle()
	return t, b.Sync()
}

// settle makes the arena of a device large enough for a step before the first one: pieces that are reserved as a step
// goes on lie apart, and take more in all. What the step turns out not to need is given back behind it.
func (t *Trainer) settle() {
	if t.backend.Allocator().Device().Kind == tensor.CPU {
		return
	}
	t.tape.A.Coarse = true
	need := 0
	for _, x := range t.StepMemory(cap(t.host.masked)) {
		need += x.Bytes
	}
	// A tenth for rounding, small tables and what lies between tensors.
	t.tape.A.Reserve(need + need/10)
}

// Adopt makes the teacher an exact copy of the student, as a run starts.
func (t *Trainer) Adopt() error {
	for _, p := range t.Student.parts() {
		p.params.Sync(t.backend)
	}
	return t.Teacher.copyFrom(t.backend, t.Student)
}

// Steps is the number of steps done: the index of the next one.
func (t *Trainer) Steps() int { return t.steps }

// plan makes every table that depends on shapes alone.
func (t *Trainer) plan() error {
	s, b := &t.Settings, t.backend
	shape := func(n, size int) nn.Group {
		// A layout reads shapes only; the memory behind this group is never touched.
		return nn.Group{Images: tensor.Over(&tensor.Buffer{Size: 4 * n * s.Backbone.Channels * size * size}, 0, tensor.F32, n, s.Backbone.Channels, size, size)}
	}
	groups := []nn.Group{shape(2*s.Batch, s.GlobalSize)}
	var err error
	if t.teacher, err = t.Teacher.Backbone.Layout(groups); err != nil {
		return err
	}
	if s.LocalCrops > 0 {
		groups = append(groups, shape(s.LocalCrops*s.Batch, s.LocalSize))
	}
	if t.student, err = t.Student.Backbone.Layout(groups); err != nil {
		return err
	}
	for i := range s.Batch {
		for v := range 2 {
			t.studentCLS = append(t.studentCLS, t.student.CLSRow(0, v*s.Batch+i))
			t.teacherCLS = append(t.teacherCLS, t.teacher.CLSRow(0, v*s.Batch+i))
		}
		for v := range s.LocalCrops {
			t.studentCLS = append(t.studentCLS, t.student.CLSRow(1, v*s.Batch+i))
		}
	}
	if err := t.planLosses(); err != nil {
		return err
	}
	for v := range t.views {
		index, inverse := make([]int32, s.Batch), make([]int32, len(t.studentCLS))
		for i := range inverse {
			inverse[i] = -1
		}
		for i := range index {
			index[i] = int32(i*(2+s.LocalCrops) + v)
			inverse[index[i]] = int32(i)
		}
		if t.views[v].Index, err = upload(b, index); err != nil {
			return err
		}
		if t.views[v].Inverse, err = upload(b, inverse); err != nil {
			return err
		}
	}
	for g, n := range []int{2 * s.Batch, s.LocalCrops * s.Batch} {
		t.host.keys[g] = make([]uint32, n)
	}
	if s.Gram.Weight > 0 {
		if t.anchor, err = newAnchor(t); err != nil {
			return err
		}
	}
	return nil
}

func (t *Trainer) planLosses() error {
	s, b := &t.Settings, t.backend
	groups := len(t.opt.Groups())
	k := s.DINO.Head.Prototypes
	c, err := newCentring(b, t.stat, k, s.Targets, groups)
	if err != nil {
		return err
	}
	u := imageUnit(s.LocalCrops)
	if t.cls, err = newPrototypeLoss(b, t.dtype, u, k, s.Batch, chunkBytes, c); err != nil {
		return err
	}
	for _, x := range []struct {
		dst **tensor.Tensor
		n   int
	}{{&t.clsWeights, s.Batch * u.pairs()}, {&t.losses, lossParts}, {&t.scales, groups}} {
		if *x.dst, err = tensor.New(b.Allocator(), t.stat, x.n); err != nil {
			return err
		}
	}
	b.Fill(t.clsWeights, s.DINO.Weight/float64(u.pairs()*s.Batch))
	if s.Watch.Every > 0 {
		chunks := (s.Batch + t.cls.most - 1) / t.cls.most
		if t.watched, err = newObservation(b, t.stat, k, chunks, s.Backbone.Dim); err != nil {
			return err
		}
	}
	if s.IBOT.Weight == 0 {
		return nil
	}
	m := s.maskSettings()
	most := m.MaxPatches(2 * s.Batch)
	if most == 0 {
		return fmt.Errorf("training settings: %w with %d crops of %dx%d patches, probability %v and ratio up to %v; the ratio must be larger",
			ErrNothingMasked, 2*s.Batch, m.GridH, m.GridW, m.Probability, m.Ratio[1])
	}
	if s.IBOT.Head != nil {
		k = s.IBOT.Head.Prototypes
	}
	if c, err = newCentring(b, t.stat, k, s.Targets, groups); err != nil {
		return err
	}
	if t.patch, err = newPrototypeLoss(b, t.dtype, patchUnit(), k, most, chunkBytes, c); err != nil {
		return err
	}
	t.host.mask = make([]bool, 2*s.Batch*m.GridH*m.GridW)
	t.host.counts = make([]int32, 2*s.Batch)
	t.host.weights = tensor.Zeros(t.stat, most)
	t.host.masked = make([]int32, 0, most)
	t.host.rows = make([]int32, 0, len(t.studentCLS)+most)
	return nil
}
