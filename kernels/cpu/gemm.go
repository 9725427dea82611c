package cpu

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

// Gemm is the matrix product with its epilogues.
func (b *Backend) Gemm(g kernels.Gemm) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.call = g
	b.gemm.Run(&b.call)
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
