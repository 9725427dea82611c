package loss

import (
	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/tensor"
)

// Rows is a set of rows that a pass through a network gives.
type Rows uint8

// The rows. Tokens are those of the backbone after its final norm. A head's rows are the L2-normalised bottlenecks,
// which come with the head's prototypes.
const (
	CLS        Rows = 1 << iota // the CLS token of every crop
	Masked                      // the masked patches of the global crops
	Patches                     // all patches of the global crops
	CLSHead                     // the bottlenecks of the CLS tokens
	MaskedHead                  // the bottlenecks of the masked patches
)

// Reads says what a term reads. A term reads the rows of one head at most.
type Reads struct {
	Student, Teacher, Snapshot Rows
	// WholeBatch asks for the student's CLS tokens of all global crops of the step before any of them is learned from,
	// because the loss of one image depends on the others. It costs a forward pass where a step has several
	// micro-batches.
	WholeBatch bool
}

// Part is one number that a term reports: a weighted contribution to the loss.
type Part struct {
	Key   string // its name in metrics.jsonl, such as "dino_global"
	Title string // its name in messages, such as "DINO loss (global)"
}

// Named is one tensor of a term's state, under its name in checkpoints.
type Named struct {
	Name   string
	Tensor *tensor.Tensor
}

// Cost is what a term adds to a step beyond the passes through backbones and heads.
type Cost struct {
	FLOPs int64 // of forward and backward
	Bytes int   // of the arena at the term's peak, of one micro-batch
}

// Spec describes a term; it is plain data, so that recipes can be compared.
type Spec interface {
	// New makes the term for a trainer. The error names a setting that makes no term, or is *tensor.OutOfMemory.
	New(e Env) (Term, error)
	// Cost counts a step of this process in which masked patches are masked. It reads the shapes of e alone.
	Cost(e *Env, masked int) Cost
}

// Term is one part of the objective. Its methods are called by one goroutine: Prepare once a step, Backward once for
// each micro-batch, Update once where the step is carried out.
type Term interface {
	// Parts lists what the term reports, in a fixed order. The key of the first names the term.
	Parts() []Part
	// Reads says which rows Inputs must hold.
	Reads() Reads
	// Prepare forms what depends on all images of the step, such as the targets of Sinkhorn-Knopp.
	Prepare(w *Batch)
	// Backward adds the term's weighted losses to in.Loss, one number for each part, and adds their gradients to the
	// rows it reads, in Tape.GradBuffer.
	Backward(in *Inputs)
	// Update moves the term's state, such as a centre, after the optimiser's step. Nothing may change where scales,
	// which are the optimiser's, hold NaN: then the step is skipped.
	Update(scales *tensor.Tensor)
	// State lists the tensors that a checkpoint must hold. They are the live ones.
	State() []Named
}

// Stateless is embedded by terms that have neither state nor targets of the whole batch.
type Stateless struct{}

// Prepare does nothing.
func (Stateless) Prepare(*Batch) {}

// Update does nothing.
func (Stateless) Update(*tensor.Tensor) {}

// State is empty.
func (Stateless) State() []Named { return nil }

// Env is what a term is made for: a device, and the shapes of a step.
type Env struct {
	Backend     kernels.Backend
	DType, Stat tensor.DType // of rows, and of losses
	// Images of a micro-batch, of this process's step, and of the step of all processes.
	Images, Local, Total int
	Globals, Locals      int           // crops of an image
	Dim, TeacherDim      int           // width of the student's tokens, and of the teacher's
	Patches              int           // of a global crop
	CLSHead, MaskedHead  nn.HeadConfig // of the student
	// The teacher's heads have the same prototypes, but their own widths.
	TeacherCLSHead, TeacherMaskedHead nn.HeadConfig

	MaxMasked int // masked patches of this process's step at most
	// ChunkBytes bounds the logits that exist at a time on each side of a loss over prototypes.
	ChunkBytes int
	// Reduce adds a tensor over all processes, in place; nil for a process that trains alone. point names the place in
	// the step: all processes pass the same points in the same order. Processes is their number.
	Reduce    func(point string, x *tensor.Tensor)
	Processes int
}

// reduce adds x over all processes.
func (e *Env) reduce(point string, x *tensor.Tensor) {
	if e.Reduce != nil {
		e.Reduce(point, x)
	}
}

// Place is where images of a step lie in the batch of all processes: Images of them from First on, of Total.
type Place struct{ First, Images, Total int }

// Whole reports whether these are all images of the step.
func (p Place) Whole() bool { return p.Images == p.Total }

// TeacherHead is the rows of a teacher's head.
type TeacherHead struct {
	Features *tensor.Tensor // normalised bottlenecks [rows, b]
	// Prototypes is the weight [K, b] of the head's last layer, computed at the first call.
	Prototypes func() *tensor.Tensor
}

// StudentHead is the rows of the student's head, with gradients.
type StudentHead struct {
	Features   *autograd.Var // normalised bottlenecks [rows, b]
	Prototypes *autograd.Var // [K, b]
}

// Step is where training stands.
type Step struct {
	Index       int // in the schedules, from 0
	TeacherTemp float64
}

// Batch is what Prepare may read: the teacher's rows of all images of this process's step. Rows of CLS tokens lie image
// by image; rows of masked patches lie micro-batch by micro-batch, crop by crop.
type Batch struct {
	Tape  *autograd.Tape
	Place Place
	Step  Step
	// Masked is the number of masked patches of the step of all processes.
	Masked              int
	CLSHead, MaskedHead TeacherHead
	// StudentCLS is the student's CLS tokens of the global crops, [Images·Globals, D], for terms that read the
	// WholeBatch; nil in a step of one micro-batch, whose Backward sees them all.
	StudentCLS *tensor.Tensor
}

// Inputs is what Backward reads, as far as the term has asked for it in Reads. Rows lie as in Batch; the student's CLS
// rows of an image are those of its global crops, then of its local crops.
type Inputs struct {
	Tape  *autograd.Tape
	Place Place
	First bool // this is the first micro-batch of the step
	Step  Step
	// Counts is the number of masked patches of each global crop here: of the first global crop of every image, then of
	// the second.
	Counts []int32

	CLS, Tokens, Patches *autograd.Var // of the student's backbone: Tokens are those of the masked patches
	CLSHead, MaskedHead  StudentHead
	TeacherCLS           TeacherHead
	TeacherMasked        TeacherHead
	// Snapshot holds the patches of the unmasked global crops as the snapshot sees them, [crops·N, D]; nil before there
	// is one.
	Snapshot *tensor.Tensor

	Loss    *tensor.Tensor // [len(Parts)]
	Observe *Observation   // nil in steps that nobody watches
}

// Off reports whether a weight is 0 at every step, so that its term need not exist.
func Off(weight optim.Schedule) bool { return weight == nil || weight == optim.Constant(0) }
