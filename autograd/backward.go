package autograd

import "github.com/dino-mx/dmx/tensor"

// Into is where a backward closure, or a loss, writes a contribution to v's gradient: the tensor, and whether
// to add to what it holds. It panics for a Var that wants none.
func (t *Tape) Into(v *Var) (dst *tensor.Tensor, accumulate bool) {
	if v.pre != nil {
		panic("autograd: the gradient of an activation output must go through its epilogue (Linear, Dropout)")
	}
	return t.into(v)
}

func (t *Tape) into(v *Var) (dst *tensor.Tensor, accumulate bool) {
	if !v.needs {
		panic("autograd: gradient for a Var that wants none")
	}
	if p := v.parent; p != nil && v.Grad == nil {
		g, acc := t.into(p)
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

// IntoZeroed is Into for operations that can only add: the tensor is zeroed before its first contribution.
func (t *Tape) IntoZeroed(v *Var) *tensor.Tensor {
	g, acc := t.Into(v)
	if !acc {
		t.B.Fill(g, 0)
	}
	return g
}

// Hand gives the gradient of out to in unchanged, as a residual connection does: the memory changes hands if in
// has no gradient yet, and is added otherwise.
func (t *Tape) Hand(in, out *Var) {
	if !in.needs {
		return
	}
	if in.Grad == nil && in.parent == nil && out.parent == nil && !in.param && in.pre == nil {
		in.Grad, in.set = out.Grad, true
		out.Grad, out.set = nil, false
		return
	}
	g, acc := t.Into(in)
	if acc {
		t.B.Axpy(g, 1, out.Grad)
		return
	}
	t.B.Copy(g, out.Grad)
}

// Backward runs the tape in reverse from the gradients that losses have written with Into. Afterwards the tape
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
		t.freeOwn(&op)
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
			t.take(x, in)
		}
	}})
	return y
}

// take gives the gradient of a detached copy to the original.
func (t *Tape) take(x, copy *Var) {
	moved := x.Grad == nil
	t.Hand(x, copy)
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
