package cpu

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

type gemmOp struct {
	g                                               kernels.Gemm
	out, a, b, bias, pre, gradOf, res, gamma, scale matrix
	alpha                                           float32
}

// Gemm is the matrix product with its epilogues.
func (b *Backend) Gemm(g kernels.Gemm) {
	kernels.CheckGemm(g)
	o := gemmOp{g: g, out: asMatrix(g.Out), a: asMatrix(g.A), b: asMatrix(g.B), bias: asVector(g.Bias), pre: asMatrix(g.Pre),
		gradOf: asMatrix(g.GradOf), res: asMatrix(g.Residual), gamma: asVector(g.Gamma), scale: asVector(g.RowScale), alpha: float32(g.Alpha)}
	if o.alpha == 0 {
		o.alpha = 1
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.gemm = o
	b.run(&b.ops.gemm, g.M, 1)
}

func (o *gemmOp) do(w *worker, lo, hi int) {
	g := &o.g
	acc, a := w.buf(0, g.N), w.buf(1, g.K)
	for m := lo; m < hi; m++ {
		if g.TransA {
			for k := range a {
				a[k] = o.a.part(w, 2, k, g.ACol+m, g.ACol+m+1)[0]
			}
		} else {
			copy(a, o.a.part(w, 2, m, g.ACol, g.ACol+g.K))
		}
		if g.TransB {
			for n := range acc {
				acc[n] = vec.Dot(a, o.b.part(w, 2, n, g.BCol, g.BCol+g.K))
			}
		} else {
			clear(acc)
			for k, v := range a {
				vec.Axpy(acc, o.b.part(w, 2, k, g.BCol, g.BCol+g.N), v)
			}
		}
		o.epilogue(w, m, acc)
	}
}

func (o *gemmOp) epilogue(w *worker, m int, acc []float32) {
	g := &o.g
	vec.Scale(acc, acc, o.alpha)
	if !o.bias.empty() {
		vec.Axpy(acc, o.bias.row(w, 2, 0), 1)
	}
	lo, hi := g.OutCol, g.OutCol+g.N
	if !o.pre.empty() {
		p := o.pre.outPart(w, 2, m, lo, hi)
		copy(p, acc)
		o.pre.donePart(m, lo, hi, p)
	}
	if g.Act != kernels.NoActivation {
		for i, v := range acc {
			acc[i] = activate(v, g.Act)
		}
	}
	if !o.gradOf.empty() {
		for i, v := range o.gradOf.part(w, 2, m, lo, hi) {
			acc[i] *= slope(v, g.ActGrad)
		}
	}
	s := float32(1)
	if !o.scale.empty() {
		s = o.scale.part(w, 2, 0, m, m+1)[0]
	}
	if !o.gamma.empty() {
		vec.MulScale(acc, acc, o.gamma.row(w, 2, 0), s)
	} else {
		vec.Scale(acc, acc, s)
	}
	if !o.res.empty() {
		vec.Axpy(acc, o.res.part(w, 2, m, lo, hi), 1)
	}
	out := o.out.part(w, 2, m, lo, hi)
	if g.Accumulate {
		vec.Axpy(out, acc, 1)
	} else {
		copy(out, acc)
	}
	o.out.donePart(m, lo, hi, out)
}

type layerScaleOp struct {
	dw, db, dgamma, g, c, w, b, gamma matrix
}

// LayerScaleBackward turns the gradient of the unscaled branch into those of dw, db and dgamma.
func (b *Backend) LayerScaleBackward(dw, db, dgamma, g, c, w, bias, gamma *tensor.Tensor) {
	kernels.CheckLayerScaleBackward(dw, db, dgamma, g, c, w, bias, gamma)
	o := layerScaleOp{asMatrix(dw), asVector(db), asVector(dgamma), asMatrix(g), asVector(c), asMatrix(w), asVector(bias), asVector(gamma)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.layerScale = o
	b.run(&b.ops.layerScale, o.g.rows, rowGrain(o.g.cols))
}

func (o *layerScaleOp) do(w *worker, lo, hi int) {
	one := func(m *matrix, n int) float32 { return m.part(w, 2, 0, n, n+1)[0] }
	add := func(m *matrix, n int, v float32) {
		p := m.part(w, 2, 0, n, n+1)
		p[0] += v
		m.donePart(0, n, n+1, p)
	}
	for n := lo; n < hi; n++ {
		g := o.g.row(w, 0, n)
		gamma := one(&o.gamma, n)
		d := vec.Dot(o.w.row(w, 1, n), g)
		if !o.b.empty() {
			d += one(&o.b, n) * one(&o.c, n)
		}
		add(&o.dgamma, n, d)
		if !o.db.empty() {
			add(&o.db, n, gamma*one(&o.c, n))
		}
		if !o.dw.empty() {
			dw := o.dw.row(w, 2, n)
			vec.Axpy(dw, g, gamma)
			o.dw.done(n, dw)
		}
	}
}
