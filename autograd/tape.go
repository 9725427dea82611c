package autograd

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Tape records operations on one device. It is not safe for concurrent use.
type Tape struct {
	// B performs the operations, A holds activations and gradients of activations.
	B kernels.Backend
	A *tensor.Arena
	// DType is the type of activations and weights; row statistics are f32, or f64 with it.
	DType tensor.DType

	ops     []Op
	mode    mode
	touched []*Var // parameters whose uses were counted since the last backward
	vars    [][]Var
	next    int
	inverse []int32 // host memory that RowMap uses again
}

type mode uint8

const (
	recording mode = iota
	noGrad
	// dryRun is the first pass through a checkpointed block: nothing is recorded, but it is worked out which
	// outputs will want a gradient, and uses of parameters are counted.
	dryRun
	// replaying is the second pass, inside backward: operations are recorded, uses were counted already.
	replaying
)

// Op is one recorded operation.
type Op struct {
	// Out is the result. Backward is called with its gradient, or not at all if nothing gave it one.
	Out      *Var
	Backward func(dy *tensor.Tensor)
	// Saves lists the Vars whose Value the Backward closure reads: they are kept until it has run.
	Saves [4]*Var
	// Uses lists the parameters this operation contributes a gradient to.
	Uses [4]*Var
	// Scratch lists tensors of the arena that only this operation needs; they are freed after Backward.
	Scratch [3]*tensor.Tensor
	// InPlace says that the operation changed Out.Value and that the operation which made it comes earlier on
	// the tape: the gradient, changed in place too, is passed on rather than freed.
	InPlace bool
}

// NewTape makes an empty tape that records.
func NewTape(b kernels.Backend, a *tensor.Arena, dtype tensor.DType) *Tape {
	return &Tape{B: b, A: a, DType: dtype}
}

// StatType is the element type of row statistics and losses: f32, or f64 when the tape works in f64.
func (t *Tape) StatType() tensor.DType {
	if t.DType == tensor.F64 {
		return tensor.F64
	}
	return tensor.F32
}

// Reset forgets everything recorded and gives all memory of the arena back. Parameters keep their gradients.
func (t *Tape) Reset() {
	clear(t.ops)
	t.ops = t.ops[:0]
	for _, p := range t.touched {
		p.uses = 0
	}
	t.touched = t.touched[:0]
	t.mode = recording
	for i := 0; i*varChunk < t.next; i++ {
		clear(t.vars[i])
	}
	t.next = 0
	t.A.Reset()
}

// NoGrad runs fn without recording: for a teacher, or inference. Values are freed as soon as they are released.
func (t *Tape) NoGrad(fn func()) {
	old := t.mode
	t.mode = noGrad
	defer func() { t.mode = old }()
	fn()
}

// Recording reports whether an operation on v would have to keep something for backward now. An operation asks
// it before it cuts tensors that only backward reads.
func (t *Tape) Recording(needs bool) bool {
	return needs && (t.mode == recording || t.mode == replaying)
}

const varChunk = 256

// newVar takes a Var from the tape's own store, which is reused every step.
func (t *Tape) newVar() *Var {
	c := t.next / varChunk
	if c == len(t.vars) {
		t.vars = append(t.vars, make([]Var, varChunk))
	}
	v := &t.vars[c][t.next%varChunk]
	t.next++
	return v
}

// Const wraps a tensor that is not differentiated and not freed by the tape.
func (t *Tape) Const(x *tensor.Tensor) *Var {
	v := t.newVar()
	v.Value = x
	return v
}

// Leaf wraps a tensor whose gradient is wanted (it appears in Grad after Backward, in the arena).
func (t *Tape) Leaf(x *tensor.Tensor) *Var {
	v := t.Const(x)
	v.needs = t.mode != noGrad
	return v
}

// New cuts the output Var of an operation. needs says whether any input wants a gradient; in a no-grad section
// it is ignored.
func (t *Tape) New(needs bool, shape ...int) *Var {
	return t.Wrap(needs, t.A.New(t.DType, shape...))
}

// Wrap returns a new Var with the value x, a tensor of the tape's arena, which is freed when the Var is released.
func (t *Tape) Wrap(needs bool, x *tensor.Tensor) *Var {
	v := t.newVar()
	v.Value = x
	v.owned = true
	v.needs = needs && t.mode != noGrad
	return v
}

// Record pushes op. It does nothing when Out needs no gradient or nothing is being recorded; the tensors in Scratch
// are then freed at once.
func (t *Tape) Record(op Op) {
	if !t.Recording(op.Out.needs) {
		if t.mode == dryRun && op.Out.needs {
			t.count(&op)
		}
		t.freeScratch(&op)
		return
	}
	for _, v := range op.Saves {
		if v != nil {
			v.root().saves++
		}
	}
	if t.mode == recording {
		t.count(&op)
	}
	t.ops = append(t.ops, op)
}

func (t *Tape) count(op *Op) {
	for _, p := range op.Uses {
		if p == nil || !p.needs {
			continue
		}
		if p.uses == 0 {
			t.touched = append(t.touched, p)
		}
		p.uses++
	}
}

// Release says that the forward code will not read v again. Its memory is freed now, or as soon as backward is
// done with it and with its row ranges. Constants, parameters and row ranges themselves are left alone.
func (t *Tape) Release(v *Var) {
	if v == nil || !v.owned || v.released {
		return
	}
	v.released = true
	t.maybeFree(v)
}

// Detach returns the value of v, which belongs to the caller from then on: releasing v does not free it, the next Reset
// does.
func (t *Tape) Detach(v *Var) *tensor.Tensor {
	v.owned = false
	return v.Value
}

func (t *Tape) maybeFree(v *Var) {
	if v.owned && v.released && v.saves == 0 {
		t.A.Free(v.Value)
		v.owned = false
	}
}

// saved is what an operation lists in Saves to read v's value in backward through restore: nothing, where the value
// can be made again.
func (v *Var) saved() *Var {
	if v.again != nil && v.parent == nil {
		return nil
	}
	return v
}

// restore is v's value in backward. made says that it was computed again: the caller frees it.
func (t *Tape) restore(v *Var) (x *tensor.Tensor, made bool) {
	if v.saved() != nil || v.owned || !v.released {
		return v.Value, false
	}
	x = t.A.New(v.Value.DType(), v.Value.Shape()...)
	v.again(x)
	return x, true
}

func (t *Tape) freeScratch(op *Op) {
	for _, x := range op.Scratch {
		if x != nil {
			t.A.Free(x)
		}
	}
}
