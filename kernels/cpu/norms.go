package cpu

import (
	"github.com/dino-mx/dmx/kernels"
	"math"

	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

type l2Op struct {
	y, x matrix
	norm []float32
	eps  float64
}

// L2Normalize is y[r] = x[r]/max(‖x[r]‖, eps).
func (b *Backend) L2Normalize(y, norm, x *tensor.Tensor, eps float64) {
	kernels.CheckL2Normalize(y, norm, x)
	o := l2Op{asMatrix(y), asMatrix(x), norm.F32(), eps}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.l2 = o
	b.run(&b.ops.l2, o.x.rows, rowGrain(o.x.cols))
}

func (o *l2Op) do(w *worker, lo, hi int) {
	for r := lo; r < hi; r++ {
		x, y := o.x.row(w, 0, r), o.y.out(w, 1, r)
		norm := math.Max(math.Sqrt(float64(vec.SumSquares(x, 0))), o.eps)
		vec.Scale(y, x, float32(1/norm))
		o.norm[r] = float32(norm)
		o.y.done(r, y)
	}
}

type l2GradOp struct {
	dx, dy, y matrix
	norm      []float32
	eps       float32
}

// L2NormalizeBackward is dx = (dy - y·(y·dy))/norm row by row.
func (b *Backend) L2NormalizeBackward(dx, dy, y, norm *tensor.Tensor, eps float64) {
	kernels.CheckL2NormalizeBackward(dx, dy, y, norm)
	o := l2GradOp{asMatrix(dx), asMatrix(dy), asMatrix(y), norm.F32(), float32(eps)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.l2Grad = o
	b.run(&b.ops.l2Grad, o.y.rows, rowGrain(o.y.cols))
}

func (o *l2GradOp) do(w *worker, lo, hi int) {
	for r := lo; r < hi; r++ {
		dy, y, dx := o.dy.row(w, 0, r), o.y.row(w, 1, r), o.dx.out(w, 2, r)
		dot, norm := vec.Dot(dy, y), o.norm[r]
		vec.Scale(dx, dy, 1/norm)
		if norm > o.eps {
			vec.Axpy(dx, y, -dot/norm)
		}
		o.dx.done(r, dx)
	}
}

type weightNormOp struct {
	w, v, gain matrix
	norm       []float32
}

// WeightNorm is w[r] = gain[r]·v[r]/‖v[r]‖.
func (b *Backend) WeightNorm(w, norm, v, gain *tensor.Tensor) {
	kernels.CheckWeightNorm(w, norm, v, gain)
	o := weightNormOp{asMatrix(w), asMatrix(v), asVector(gain), norm.F32()}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.weight = o
	b.run(&b.ops.weight, o.v.rows, rowGrain(o.v.cols))
}

func (o *weightNormOp) do(w *worker, lo, hi int) {
	var gain []float32
	if !o.gain.empty() {
		gain = o.gain.part(w, 2, 0, lo, hi)
	}
	for r := lo; r < hi; r++ {
		v, y := o.v.row(w, 0, r), o.w.out(w, 1, r)
		norm := math.Sqrt(float64(vec.SumSquares(v, 0)))
		g := 1.0
		if gain != nil {
			g = float64(gain[r-lo])
		}
		vec.Scale(y, v, float32(g/norm))
		o.norm[r] = float32(norm)
		o.w.done(r, y)
	}
}

type weightNormGradOp struct {
	dv, dgain, dw, v, gain matrix
	norm                   []float32
}

// WeightNormBackward accumulates dv and dgain from dw.
func (b *Backend) WeightNormBackward(dv, dgain, dw, v, gain, norm *tensor.Tensor) {
	kernels.CheckWeightNormBackward(dv, dgain, dw, v, gain, norm)
	o := weightNormGradOp{asMatrix(dv), asVector(dgain), asMatrix(dw), asMatrix(v), asVector(gain), norm.F32()}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.weightGrad = o
	b.run(&b.ops.weightGrad, o.v.rows, rowGrain(o.v.cols))
}

func (o *weightNormGradOp) do(w *worker, lo, hi int) {
	var gain, dgain []float32
	if !o.gain.empty() {
		gain = o.gain.part(w, 2, 0, lo, hi)
	}
	if !o.dgain.empty() {
		dgain = o.dgain.part(w, 3, 0, lo, hi)
	}
	for r := lo; r < hi; r++ {
		dw, v := o.dw.row(w, 0, r), o.v.row(w, 1, r)
		norm := o.norm[r]
		along := vec.Dot(dw, v) / norm // u·dw
		if dgain != nil {
			dgain[r-lo] += along
		}
		if o.dv.empty() {
			continue
		}
		g := float32(1)
		if gain != nil {
			g = gain[r-lo]
		}
		dv := o.dv.row(w, 4, r)
		vec.Axpy(dv, dw, g/norm)
		vec.Axpy(dv, v, -g/norm*along/norm)
		o.dv.done(r, dv)
	}
	if dgain != nil {
		o.dgain.donePart(0, lo, hi, dgain)
	}
}
