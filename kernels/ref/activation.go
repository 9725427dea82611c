package ref

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

const (
	geluTanhIn    = 0.044715
	quickGELUBeta = 1.702
)

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// activate is act(x); see kernels.Activation for the formulas.
func activate(act kernels.Activation, x float64) float64 {
	switch act {
	case kernels.GELU:
		return 0.5 * x * math.Erfc(-x/math.Sqrt2)
	case kernels.GELUTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+geluTanhIn*x*x*x)))
	case kernels.QuickGELU:
		return x * sigmoid(quickGELUBeta*x)
	case kernels.SiLU:
		return x * sigmoid(x)
	case kernels.ReLU:
		return math.Max(x, 0)
	case kernels.Tanh:
		return math.Tanh(x)
	default:
		return x
	}
}

// slope is act'(x). ReLU's is 0 at 0.
func slope(act kernels.Activation, x float64) float64 {
	switch act {
	case kernels.GELU:
		return 0.5*math.Erfc(-x/math.Sqrt2) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	case kernels.GELUTanh:
		t := math.Tanh(math.Sqrt(2/math.Pi) * (x + geluTanhIn*x*x*x))
		return 0.5*(1+t) + 0.5*x*(1-t*t)*math.Sqrt(2/math.Pi)*(1+3*geluTanhIn*x*x)
	case kernels.QuickGELU:
		s := sigmoid(quickGELUBeta * x)
		return s + quickGELUBeta*x*s*(1-s)
	case kernels.SiLU:
		s := sigmoid(x)
		return s + x*s*(1-s)
	case kernels.ReLU:
		if x > 0 {
			return 1
		}
		return 0
	case kernels.Tanh:
		t := math.Tanh(x)
		return 1 - t*t
	default:
		return 1
	}
}

// ActForward is out = act(x).
func (b *Backend) ActForward(out, x *tensor.Tensor, act kernels.Activation) {
	kernels.CheckActForward(out, x, act)
	b.begin()
	xs, y := b.load(x), b.take(x.Len())
	for i, v := range xs {
		y[i] = activate(act, v)
	}
	store(out, 0, y)
}

// ActBackward is dx = dy·act'(x).
func (b *Backend) ActBackward(dx, dy, x *tensor.Tensor, act kernels.Activation) {
	kernels.CheckActBackward(dx, dy, x, act)
	b.begin()
	xs, dys, d := b.load(x), b.load(dy), b.take(x.Len())
	for i, v := range xs {
		d[i] = dys[i] * slope(act, v)
	}
	store(dx, 0, d)
}

// SwiGLU is out = silu(gate)·value, gate the first and value the second half of each row.
func (b *Backend) SwiGLU(out, x *tensor.Tensor) {
	kernels.CheckSwiGLU(out, x)
	b.begin()
	rows, h := kernels.Matrix(out)
	xs, y := b.load(x), b.take(rows*h)
	for r := range rows {
		for j := range h {
			gate, value := xs[r*2*h+j], xs[r*2*h+h+j]
			y[r*h+j] = activate(kernels.SiLU, gate) * value
		}
	}
	store(out, 0, y)
}

// SwiGLUBackward is dgate = dy·value·silu'(gate), dvalue = dy·silu(gate).
func (b *Backend) SwiGLUBackward(dx, dy, x *tensor.Tensor) {
	kernels.CheckSwiGLUBackward(dx, dy, x)
	b.begin()
	rows, h := kernels.Matrix(dy)
	xs, dys, d := b.load(x), b.load(dy), b.take(rows*2*h)
	for r := range rows {
		for j := range h {
			gate, value, g := xs[r*2*h+j], xs[r*2*h+h+j], dys[r*h+j]
			d[r*2*h+j] = g * value * slope(kernels.SiLU, gate)
			d[r*2*h+h+j] = g * activate(kernels.SiLU, gate)
		}
	}
	store(dx, 0, d)
}
