package autograd

import "github.com/dino-mx/dmx/tensor"

// GradBuffer returns the memory of v's gradient for a backward closure, or a loss, to write its contribution to, and
// whether it must add to what the memory holds instead of overwriting it. It allocates the memory at the first call. It
// panics for a Var that needs no gradient.
func (t *Tape) GradBuffer(v *Var) (dst *tensor.Tensor, accumulate bool) {
	if v.pre != nil {
		panic("autograd: the gradient of an activation output must go through its epilogue (Linear, Dropout)")
	}
	return t.gradBuffer(v)
}

// gradBuffer is GradBuffer for callers that apply the derivative of an activation themselves.
func (t *Tape) gradBuffer(v *Var) (dst *tensor.Tensor, accumulate bool) {
	if !v.needs {
		panic("autograd: gradient for a Var that wants none")
	}
	if p := v.parent; p != nil && v.Grad == nil {
		g, acc := t.gradBuffer(p)
		if !acc {
			t.B.Fill(g, 0)
		}
		v.Grad = g.Rows(v.lo, v.lo+v.Value.Dim(0))
		v.set = true
	}
	if v.Grad == nil {
		v.Grad = t.A.New(v.Value.DType(), v.Value.Shape()...)
	}
	accumulate = v.set
	v.set = true
	return v.Grad, accumulate
}

// ZeroedGradBuffer returns the memory of v's gradient for operations that can only add: it is zeroed before its first
// contribution.
func (t *Tape) ZeroedGradBuffer(v *Var) *tensor.Tensor {
	g, acc := t.GradBuffer(v)
	if !acc {
		t.B.Fill(g, 0)
	}
	return g
}

// PassGrad adds the gradient of out to that of in unchanged, as a residual connection does. Where in has no gradient yet
// the memory of out's becomes in's, without a copy.
func (t *Tape) PassGrad(in, out *Var) {
	if !in.needs {
		return
	}
	if in.Grad == nil && in.parent == nil && out.parent == nil && !in.param && in.pre == nil {
		in.Grad, in.set = out.Grad, true
		out.Grad, out.set = nil, false
		return
	}
	g, acc := t.GradBuffer(in)
	if acc {
		t.B.Axpy(g, 1, out.Grad)
		return
	}
	t.B.Copy(g, out.Grad)
}

// Backward runs the tape in reverse from the gradients that losses have written to their GradBuffer. Afterwards the tape
// is empty, every parameter that was used has its gradient, and its hook has been called.
func (t *Tape) Backward() {
	t.backwardTo(0)
	for _, p := range t.touched {
		// Left over by a checkpointed block that no gradient reached.
		if p.uses > 0 {
			p.uses = 0
			p.fire()
		}
	}
	t.touched = t.touched[:0]
}

func (t *Tape) backwardTo(mark int) {
	for len(t.ops) > mark {
		last := len(t.ops) - 1
		op := t.ops[last]
		t.ops[last] = Op{}
		t.ops = t.ops[:last]
		out := op.Out
		if out.set {
			op.Backward(out.Grad)
		}
		if !op.InPlace && out.Grad != nil && out.parent == nil && !out.param {
			t.A.Free(out.Grad)
			out.Grad, out.set = nil, false
		}
		t.freeScratch(&op)
		for _, v := range op.Saves {
			if v != nil {
				r := v.root()
				r.saves--
				t.maybeFree(r)
			}
		}
		for _, p := range op.Uses {
			if p == nil || p.uses == 0 {
				continue
			}
			if p.uses--; p.uses == 0 {
				p.fire()
			}
		}
	}
}

// Checkpoint computes fn(x) without keeping its intermediate values and computes it again inside backward: the
// memory of one block instead of that of all. fn must depend on x and on parameters only, and draw its random
// numbers from counters, so that both passes give the same bits. It must not release x.
func (t *Tape) Checkpoint(x *Var, fn func(x *Var) *Var) *Var {
	if t.mode != recording {
		return fn(x)
	}
	t.mode = dryRun
	y := fn(x)
	t.mode = recording
	if !y.needs {
		return y
	}
	t.Record(Op{Out: y, Saves: [4]*Var{x}, Backward: func(dy *tensor.Tensor) {
		in := t.Const(x.Value)
		in.needs = x.needs
		mark := len(t.ops)
		t.mode = replaying
		again := fn(in)
		t.mode = recording
		t.Release(again)
		again.Grad, again.set = dy, true
		y.Grad, y.set = nil, false
		t.backwardTo(mark)
		if in.set {
			t.takeGrad(x, in)
		}
	}})
	return y
}

// takeGrad adds the gradient of a detached copy to that of the original.
func (t *Tape) takeGrad(x, copy *Var) {
	moved := x.Grad == nil
	t.PassGrad(x, copy)
	if !moved && copy.Grad != nil {
		t.A.Free(copy.Grad)
		copy.Grad, copy.set = nil, false
	}
}

func (v *Var) fire() {
	if v.ready != nil {
		v.ready()
	}
}
