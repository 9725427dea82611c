package autograd

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Var is a value on the tape: an activation, a constant, or a parameter.
type Var struct {
	// Value is the content, in the tape's working type.
	Value *tensor.Tensor
	// Grad is the gradient, nil while there is none. A parameter's Grad is allocated once, by its owner; its
	// content is meaningful only when HasGrad reports true.
	Grad *tensor.Tensor

	// pre and act are set when Value = act(pre). The gradient such a Var collects is the one of pre: whoever
	// uses it multiplies by act'(pre) in its own epilogue, so no pass over memory is spent on it.
	pre *tensor.Tensor
	act kernels.Activation

	// again computes Value anew, for a result that is cheap to make from what backward keeps anyway: then a matrix
	// product that needs it for its weight gradient does not keep it. nil where there is no such way.
	again func(dst *tensor.Tensor)

	parent *Var // of a row range: the Var whose gradient buffer this one shares
	lo     int

	needs    bool // a gradient is wanted
	param    bool // persistent: survives Reset, Grad not freed
	set      bool // Grad holds a contribution
	owned    bool // Value was cut from the arena for this Var
	released bool // the forward code is done with it
	saves    int32
	uses     int32
	ready    func()
}

// NewParam makes the persistent Var of a parameter. grad may be nil for one that is never trained; it has the
// shape of value.
func NewParam(value, grad *tensor.Tensor) *Var {
	return &Var{Value: value, Grad: grad, param: true, needs: grad != nil}
}

// NeedsGrad reports whether backward computes this Var's gradient.
func (v *Var) NeedsGrad() bool { return v != nil && v.needs }

// SetNeedsGrad freezes (false) or unfreezes (true) a parameter. It panics on a Var that is not a parameter, and
// when asked for a gradient that has no memory.
func (v *Var) SetNeedsGrad(on bool) {
	if !v.param {
		panic("autograd: SetNeedsGrad on a Var that is not a parameter")
	}
	if on && v.Grad == nil {
		panic("autograd: SetNeedsGrad on a parameter without gradient memory")
	}
	v.needs = on
}

// HasGrad reports whether Grad holds a gradient of the current step.
func (v *Var) HasGrad() bool { return v.set }

// ZeroGrad forgets the gradient. No memory is touched: the next contribution overwrites.
func (v *Var) ZeroGrad() { v.set = false }

// OnReady sets the hook that Backward calls once, when the last recorded use of this parameter has added its
// gradient. It is where data-parallel buckets and reduce-scatters hang. A parameter that nothing used (a mask token
// without masks) has no hook called. nil removes it.
func (v *Var) OnReady(hook func()) { v.ready = hook }

// root is the Var whose memory v's value lies in.
func (v *Var) root() *Var {
	for v.parent != nil {
		v = v.parent
	}
	return v
}

// Dim is the size of dimension i of the value; negative i counts from the end.
func (v *Var) Dim(i int) int { return v.Value.Dim(i) }

// rowsCols reads a tensor as the matrix [product of leading dimensions, last dimension].
func rowsCols(t *tensor.Tensor) (rows, cols int) {
	s := t.Shape()
	if len(s) == 0 {
		return 1, 1
	}
	cols = s[len(s)-1]
	if cols == 0 {
		return 0, 0
	}
	return t.Len() / cols, cols
}
