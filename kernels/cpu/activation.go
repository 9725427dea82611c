package cpu

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

type actOp struct {
	out, x, dy matrix
	act        kernels.Activation
}

// ActForward is out = act(x).
func (b *Backend) ActForward(out, x *tensor.Tensor, act kernels.Activation) {
	kernels.CheckActForward(out, x, act)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.act = actOp{out: asVector(out), x: asVector(x), act: act}
	b.run(&b.ops.act, blocks(x.Len(), chunk), 1)
}

// ActBackward is dx = dy·act'(x).
func (b *Backend) ActBackward(dx, dy, x *tensor.Tensor, act kernels.Activation) {
	kernels.CheckActBackward(dx, dy, x, act)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.act = actOp{out: asVector(dx), x: asVector(x), dy: asVector(dy), act: act}
	b.run(&b.ops.act, blocks(x.Len(), chunk), 1)
}

func (o *actOp) do(w *worker, lo, hi int) {
	for c := lo; c < hi; c++ {
		i, j := c*chunk, min((c+1)*chunk, o.x.cols)
		x, y := o.x.part(w, 0, 0, i, j), o.out.outPart(w, 1, 0, i, j)
		if o.dy.empty() {
			vec.Activate(y, x, o.act)
		} else {
			vec.ActivateGrad(y, o.dy.part(w, 2, 0, i, j), x, o.act)
		}
		o.out.donePart(0, i, j, y)
	}
}

type swiGLUOp struct {
	out, x, dy matrix
}

// SwiGLU is out[r,j] = silu(x[r,j])·x[r,H+j].
func (b *Backend) SwiGLU(out, x *tensor.Tensor) {
	kernels.CheckSwiGLU(out, x)
	o := swiGLUOp{out: asMatrix(out), x: asMatrix(x)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.swiGLU = o
	b.run(&b.ops.swiGLU, o.x.rows, rowGrain(o.x.cols))
}

// SwiGLUBackward is the gradient of SwiGLU.
func (b *Backend) SwiGLUBackward(dx, dy, x *tensor.Tensor) {
	kernels.CheckSwiGLUBackward(dx, dy, x)
	o := swiGLUOp{out: asMatrix(dx), x: asMatrix(x), dy: asMatrix(dy)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.swiGLU = o
	b.run(&b.ops.swiGLU, o.x.rows, rowGrain(o.x.cols))
}

func (o *swiGLUOp) do(w *worker, lo, hi int) {
	h := o.x.cols / 2
	for r := lo; r < hi; r++ {
		x, y := o.x.row(w, 0, r), o.out.out(w, 1, r)
		if o.dy.empty() {
			vec.Activate(y, x[:h], kernels.SiLU)
			vec.MulScale(y, y, x[h:], 1)
		} else {
			dy, gate := o.dy.row(w, 2, r), y[h:]
			vec.MulScale(y[:h], dy, x[h:], 1)
			vec.ActivateGrad(y[:h], y[:h], x[:h], kernels.SiLU)
			vec.Activate(gate, x[:h], kernels.SiLU)
			vec.MulScale(gate, gate, dy, 1)
		}
		o.out.done(r, y)
	}
}
