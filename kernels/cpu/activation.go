package cpu

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
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
			for k, v := range x {
				y[k] = activate(v, o.act)
			}
		} else {
			dy := o.dy.part(w, 2, 0, i, j)
			for k, v := range x {
				y[k] = dy[k] * slope(v, o.act)
			}
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
			for j := range h {
				y[j] = activate(x[j], kernels.SiLU) * x[h+j]
			}
		} else {
			dy := o.dy.row(w, 2, r)
			for j := range h {
				a, v := x[j], x[h+j]
				y[j] = dy[j] * v * slope(a, kernels.SiLU)
				y[h+j] = dy[j] * activate(a, kernels.SiLU)
			}
		}
		o.out.done(r, y)
	}
}

func activate(v float32, act kernels.Activation) float32 {
	x := float64(v)
	switch act {
	case kernels.GELU:
		return float32(x * 0.5 * (1 + math.Erf(x/math.Sqrt2)))
	case kernels.GELUTanh:
		return float32(x * 0.5 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))))
	case kernels.QuickGELU:
		return float32(x / (1 + math.Exp(-1.702*x)))
	case kernels.SiLU:
		return float32(x / (1 + math.Exp(-x)))
	case kernels.ReLU:
		return max(v, 0)
	case kernels.Tanh:
		return float32(math.Tanh(x))
	}
	return v
}

func slope(v float32, act kernels.Activation) float32 {
	x := float64(v)
	switch act {
	case kernels.GELU:
		return float32(0.5*(1+math.Erf(x/math.Sqrt2)) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi))
	case kernels.GELUTanh:
		c := math.Sqrt(2 / math.Pi)
		t := math.Tanh(c * (x + 0.044715*x*x*x))
		return float32(0.5*(1+t) + 0.5*x*(1-t*t)*c*(1+3*0.044715*x*x))
	case kernels.QuickGELU:
		s := 1 / (1 + math.Exp(-1.702*x))
		return float32(s + 1.702*x*s*(1-s))
	case kernels.SiLU:
		s := 1 / (1 + math.Exp(-x))
		return float32(s + x*s*(1-s))
	case kernels.ReLU:
		if v > 0 {
			return 1
		}
		return 0
	case kernels.Tanh:
		t := math.Tanh(x)
		return float32(1 - t*t)
	}
	return 1
}
