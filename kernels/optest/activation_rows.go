package optest

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
)

var activations = []struct {
	act  kernels.Activation
	name string
}{
	{kernels.NoActivation, "none"},
	{kernels.GELU, "gelu"},
	{kernels.GELUTanh, "gelu tanh"},
	{kernels.QuickGELU, "quick gelu"},
	{kernels.SiLU, "silu"},
	{kernels.ReLU, "relu"},
	{kernels.Tanh, "tanh"},
}

// actErr bounds the error of act(z) in f32, given z. The gated ones are z times a number in [0,1] that is known to
// a few roundoffs.
func actErr(act kernels.Activation, z, y float64) float64 {
	switch act {
	case kernels.NoActivation, kernels.ReLU:
		return 0
	case kernels.Tanh:
		return 4*u + 8*u*math.Abs(y)
	default:
		return 8 * u * math.Abs(z)
	}
}

// slopeErr bounds the error of act'(z) in f32, given z.
func slopeErr(act kernels.Activation, z float64) float64 {
	switch act {
	case kernels.NoActivation, kernels.ReLU:
		return 0
	case kernels.Tanh:
		return 8 * u
	default:
		return 8 * u * (1 + math.Abs(z))
	}
}

// maxSlope bounds |act'|: the gated activations overshoot 1 a little.
const maxSlope = 1.2

// tails puts arguments at which careless exponentials overflow at the front of an operand.
func tails(o *operand) {
	for i, v := range []float64{0, 90, -90, 1e4, -1e4, 12, -12, 1e-30, -1e-30, 5.5, -5.5, 3e18, -3e18} {
		if j := 3 * i; j < len(o.val) {
			o.val[j] = round(o.dtype, v)
		}
	}
}

func activationRows() []*spec {
	var list []*spec
	vectors := []shape2{{3, 1367}}
	for _, e := range edges {
		vectors = append(vectors, shape2{1, e})
	}
	big := shape2{1024, 1536}
	for _, a := range activations {
		list = append(list, named(a.name, rowsOf("ActForward", kernels.ActivationFLOPs, vectors, actForward(a.act, false)))...)
		list = append(list, named(a.name, benchOf("ActForward", kernels.ActivationFLOPs, big, actForward(a.act, false)))...)
	}
	list = append(list, named("in place", rowsOf("ActForward", kernels.ActivationFLOPs, vectors[:4], actForward(kernels.GELU, true)))...)
	for _, a := range activations {
		list = append(list, gradients(named(a.name, rowsOf("ActBackward", kernels.ActivationBackwardFLOPs, vectors, actBackward(a.act, false))))...)
		list = append(list, named(a.name, benchOf("ActBackward", kernels.ActivationBackwardFLOPs, big, actBackward(a.act, false)))...)
	}
	list = append(list, gradients(named("in place", rowsOf("ActBackward", kernels.ActivationBackwardFLOPs, vectors[:4], actBackward(kernels.GELU, true))))...)
	list = append(list, rowsOf("SwiGLU", kernels.SwiGLUFLOPs, matrices(), swiglu)...)
	list = append(list, benchOf("SwiGLU", kernels.SwiGLUFLOPs, big, swiglu)...)
	list = append(list, gradients(rowsOf("SwiGLUBackward", kernels.SwiGLUBackwardFLOPs, matrices(), swigluBackward))...)
	return append(list, benchOf("SwiGLUBackward", kernels.SwiGLUBackwardFLOPs, big, swigluBackward)...)
}

func actForward(act kernels.Activation, inPlace bool) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		var x, y *operand
		if inPlace {
			x = r.inout("x", r.dtype, normal(3), s.rows, s.cols)
			y = x
		} else {
			x = r.in("x", normal(3), s.rows, s.cols)
			y = r.out("out", s.rows, s.cols)
		}
		tails(x)
		r.call = func(b kernels.Backend) { b.ActForward(y.t, x.t, act) }
		r.bound = func() { each(y, func(i int) float64 { return actErr(act, x.val[i], y.want[i]) }) }
	}
}

func actBackward(act kernels.Activation, inPlace bool) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		x := r.in("x", normal(3), s.rows, s.cols)
		tails(x)
		var dx, dy *operand
		if inPlace {
			dy = r.inout("dy", r.dtype, normal(1), s.rows, s.cols)
			dx = dy
		} else {
			dy = r.in("dy", normal(1), s.rows, s.cols)
			dx = r.out("dx", s.rows, s.cols)
		}
		r.call = func(b kernels.Backend) { b.ActBackward(dx.t, dy.t, x.t, act) }
		if act == kernels.NoActivation {
			r.unmoved = func() int64 { return x.moved() } // its slope is 1 everywhere
		}
		r.bound = func() {
			each(dx, func(i int) float64 {
				return math.Abs(dy.val[i])*slopeErr(act, x.val[i]) + u*math.Abs(dx.want[i])*float64(min(act, 1))
			})
		}
	}
}

func swiglu(r *row, s shape2) {
	x := r.in("x", normal(3), s.rows, 2*s.cols)
	y := r.out("out", s.rows, s.cols)
	r.call = func(b kernels.Backend) { b.SwiGLU(y.t, x.t) }
	r.bound = func() {
		each(y, func(i int) float64 {
			gate, value := halves(x, i, s.cols)
			return actErr(kernels.SiLU, gate, 0)*math.Abs(value) + 2*u*math.Abs(y.want[i])
		})
	}
}

// halves is x[r,j] and x[r,cols+j] for the element number i of the output.
func halves(x *operand, i, cols int) (gate, value float64) {
	at := i/cols*2*cols + i%cols
	return x.val[at], x.val[at+cols]
}

func swigluBackward(r *row, s shape2) {
	x := r.in("x", normal(3), s.rows, 2*s.cols)
	dy := r.in("dy", normal(1), s.rows, s.cols)
	dx := r.out("dx", s.rows, 2*s.cols)
	r.call = func(b kernels.Backend) { b.SwiGLUBackward(dx.t, dy.t, x.t) }
	r.bound = func() {
		for i, g := range dy.val {
			gate, value := halves(x, i, s.cols)
			at := i/s.cols*2*s.cols + i%s.cols
			dx.err[at] = math.Abs(g*value)*slopeErr(kernels.SiLU, gate) + 3*u*math.Abs(dx.want[at])
			dx.err[at+s.cols] = math.Abs(g)*actErr(kernels.SiLU, gate, 0) + 2*u*math.Abs(dx.want[at+s.cols])
		}
	}
}
