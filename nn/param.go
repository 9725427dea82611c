package nn

import (
	"fmt"
	"strings"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Weight is the memory of one parameter, or of several that are stacked into one matrix, such as query, key and value.
// Its Var holds the working copy and the gradient.
type Weight struct {
	*autograd.Var
	// Master is the copy that the optimiser updates, in f32 (f64 in the oracle). It is the same tensor as Value unless
	// the working type is bf16.
	Master *tensor.Tensor

	gradient *tensor.Buffer // of Grad
}

// Kind says how the optimiser treats a parameter.
type Kind uint8

// The kinds of parameter.
const (
	Matrix   Kind = iota // weight of a linear layer or of the patch embedding
	Bias                 // additive vector of a linear layer
	NormGain             // scale or shift of a LayerNorm
	Gamma                // LayerScale
	Token                // CLS, mask, registers
	Position             // position table
	Gain                 // gain of a weight-normalised layer
)

var kindNames = [...]string{"matrix", "bias", "norm", "gamma", "token", "position", "gain"}

// String is the kind's name in tables.
func (k Kind) String() string { return kindNames[k] }

// Param is one named parameter: rows Lo to Hi of a Weight, in the shape that it has in a Hugging Face file.
type Param struct {
	Name   string // as in the Hugging Face file, for example "encoder.layer.0.norm1.weight"
	Shape  tensor.Shape
	Kind   Kind
	Depth  int // layer-decay id: 0 embeddings, i+1 block i, depth+1 final norm and heads
	Init   Init
	Frozen bool // set through Params.Freeze

	PatchEmbed bool // belongs to the patch embedding
	LastLayer  bool // belongs to the prototype layer of a head

	Weight *Weight
	Lo, Hi int
}

// Value returns the master copy, in the file's shape. After writing to it, call Params.Sync.
func (p *Param) Value() *tensor.Tensor { return p.Weight.Master.Rows(p.Lo, p.Hi).Reshape(p.Shape...) }

// Compute returns the working copy, in the file's shape. It is the same memory as Value unless the working type is
// bf16.
func (p *Param) Compute() *tensor.Tensor {
	return p.Weight.Value.Rows(p.Lo, p.Hi).Reshape(p.Shape...)
}

// Grad returns the gradient, in the file's shape. It is nil while every parameter of the Weight is frozen, and for a
// model that was built without gradients.
func (p *Param) Grad() *tensor.Tensor {
	if p.Weight.Grad == nil {
		return nil
	}
	return p.Weight.Grad.Rows(p.Lo, p.Hi).Reshape(p.Shape...)
}

// Module returns the name without its last component: "encoder.layer.0.norm1".
func (p *Param) Module() string {
	if i := strings.LastIndexByte(p.Name, '.'); i >= 0 {
		return p.Name[:i]
	}
	return p.Name
}

// Params is the registry of a model: its parameters in file order.
type Params struct {
	list   []*Param
	byName map[string]*Param
	alloc  tensor.Allocator // of gradients; nil for a model built without
}

// All lists the parameters in the order they were registered; the caller must not change the slice.
func (ps *Params) All() []*Param { return ps.list }

// ByName finds a parameter, or returns nil.
func (ps *Params) ByName(name string) *Param { return ps.byName[name] }

// Count returns the number of elements of all parameters, and of those that are trained.
func (ps *Params) Count() (all, trainable int) {
	for _, p := range ps.list {
		n := p.Shape.Len()
		all += n
		if !p.Frozen {
			trainable += n
		}
	}
	return all, trainable
}

func (ps *Params) add(p *Param) *Param {
	if ps.byName == nil {
		ps.byName = map[string]*Param{}
	}
	if ps.byName[p.Name] != nil {
		panic("nn: two parameters named " + p.Name)
	}
	rows := tensor.Shape{p.Hi - p.Lo}
	if n := p.Weight.Master.Rows(p.Lo, p.Hi).Len(); n != p.Shape.Len() {
		panic(fmt.Sprintf("nn: %s of shape %s lies in %d elements (%s rows)", p.Name, p.Shape, n, rows))
	}
	ps.list = append(ps.list, p)
	ps.byName[p.Name] = p
	return p
}

// Freeze sets Frozen on the parameters that match and returns how many it froze. A Weight whose parameters are all
// frozen computes no gradient and holds no memory for one.
func (ps *Params) Freeze(match func(*Param) bool) int { return ps.setFrozen(match, true) }

// Unfreeze clears Frozen on the parameters that match and returns how many changed. It panics with
// *tensor.OutOfMemory when there is no memory for their gradients.
func (ps *Params) Unfreeze(match func(*Param) bool) int { return ps.setFrozen(match, false) }

func (ps *Params) setFrozen(match func(*Param) bool, frozen bool) int {
	n := 0
	for _, p := range ps.list {
		if match(p) && p.Frozen != frozen {
			p.Frozen = frozen
			n++
		}
	}
	if err := ps.refresh(); err != nil {
		panic(err)
	}
	return n
}

// refresh allocates the gradient of every Weight that is trained and frees those of the others. The error is a
// *tensor.OutOfMemory.
func (ps *Params) refresh() error {
	if ps.alloc == nil {
		return nil
	}
	trained := make(map[*Weight]bool, len(ps.list))
	for _, p := range ps.list {
		trained[p.Weight] = trained[p.Weight] || !p.Frozen
	}
	for _, p := range ps.list {
		switch w := p.Weight; {
		case trained[w] && w.gradient == nil:
			if err := w.allocGrad(ps.alloc); err != nil {
				return err
			}
		case !trained[w] && w.gradient != nil:
			w.freeGrad(ps.alloc)
		}
	}
	return nil
}

func (w *Weight) allocGrad(alloc tensor.Allocator) error {
	m := w.Master
	buf, err := alloc.Alloc(m.NumBytes())
	if err != nil {
		return tensor.AllocationFailed(alloc.Device(), m.NumBytes(), err)
	}
	w.gradient = buf
	w.Grad = tensor.Over(buf, 0, m.DType(), m.Shape()...)
	w.ZeroGrad()
	w.SetNeedsGrad(true)
	return nil
}

func (w *Weight) freeGrad(alloc tensor.Allocator) {
	w.SetNeedsGrad(false)
	w.ZeroGrad()
	w.Grad = nil
	alloc.Free(w.gradient)
	w.gradient = nil
}

// ZeroGrad discards all gradients: the next contribution to each overwrites it. No memory is written.
func (ps *Params) ZeroGrad() {
	for _, p := range ps.list {
		p.Weight.ZeroGrad()
	}
}

// FillMissing writes zeros to the gradient of trained parameters that the last backward did not reach, such as
// the mask token of a step without masks, so that the optimiser reads defined numbers.
func (ps *Params) FillMissing(b kernels.Backend) {
	for _, p := range ps.list {
		if !p.Frozen && p.Weight.Grad != nil && !p.Weight.HasGrad() && p.Shape.Len() > 0 {
			b.Fill(p.Grad(), 0)
		}
	}
}

// Sync rounds the master copies to the working type. It is needed after something other than the optimiser has written
// them, such as a loader.
func (ps *Params) Sync(b kernels.Backend) {
	for _, p := range ps.list {
		if p.Weight.Master != p.Weight.Value && p.Shape.Len() > 0 {
			b.Copy(p.Compute(), p.Value())
		}
	}
}

// CopyFrom copies every parameter from the one of the same name in src, as a teacher starts. The error names the first
// parameter that src lacks or has in another shape.
func (ps *Params) CopyFrom(b kernels.Backend, src *Params) error {
	for _, p := range ps.list {
		q := src.byName[p.Name]
		if q == nil {
			return fmt.Errorf("nn: copy parameters: the source has no %s", p.Name)
		}
		if !q.Shape.Equal(p.Shape) {
			return fmt.Errorf("nn: copy parameters: %s is %s, the source's %s", p.Name, p.Shape, q.Shape)
		}
	}
	for _, p := range ps.list {
		if p.Shape.Len() > 0 {
			b.Copy(p.Value(), src.byName[p.Name].Value())
		}
	}
	ps.Sync(b)
	return nil
}
