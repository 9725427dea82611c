package cpu

import (
	"github.com/dino-mx/dmx/kernels"
	"math"

	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

type nearestOp struct {
	index []int32
	dots  matrix
}

// NearestRows is index[i] = argmax over j != i of dots[i,j], the smallest such j.
func (b *Backend) NearestRows(index, dots *tensor.Tensor) {
	kernels.CheckNearestRows(index, dots)
	o := nearestOp{index.I32(), asMatrix(dots)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.nearest = o
	b.run(&b.ops.nearest, o.dots.rows, rowGrain(o.dots.cols))
}

func (o *nearestOp) do(w *worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		best, at := float32(math.Inf(-1)), -1
		for j, v := range o.dots.row(w, 0, i) {
			if j != i && (v > best || at < 0) {
				best, at = v, j
			}
		}
		o.index[i] = int32(at)
	}
}

type koleoOp struct {
	loss                 []float32
	dx, x                matrix
	index                []int32
	coef                 []float32 // -weight/((dist+eps)·dist) of each row, 0 for duplicates
	eps, minDist, weight float64
	gradient             bool
}

// KoLeo is the Kozachenko-Leonenko loss of unit rows and its gradient.
func (b *Backend) KoLeo(loss, dx, x, index *tensor.Tensor, eps, minDist, weight float64) {
	kernels.CheckKoLeo(loss, dx, x, index)
	o := koleoOp{loss: loss.F32(), dx: asMatrix(dx), x: asMatrix(x), index: index.I32(), eps: eps, minDist: minDist, weight: weight}
	b.mu.Lock()
	defer b.mu.Unlock()
	o.coef = b.partials(o.x.rows)
	b.ops.koleo = o
	b.run(&b.ops.koleo, o.x.rows, rowGrain(o.x.cols))
	if dx != nil {
		b.ops.koleo.gradient = true
		b.run(&b.ops.koleo, o.x.rows, rowGrain(o.x.cols))
	}
}

func (o *koleoOp) do(w *worker, lo, hi int) {
	eps := float32(o.eps)
	for i := lo; i < hi; i++ {
		x := o.x.row(w, 0, i)
		if !o.gradient {
			o.loss[i], o.coef[i] = 0, 0
			if o.index[i] < 0 {
				continue // the only row of its batch
			}
			d, s := w.buf(2, len(x)), o.x.row(w, 1, int(o.index[i]))
			for k := range d {
				d[k] = x[k] - s[k] + eps
			}
			dist := math.Sqrt(float64(vec.SumSquares(d, 0)))
			if dist >= o.minDist {
				o.loss[i] = float32(-o.weight * math.Log(dist+o.eps))
				o.coef[i] = float32(-o.weight / ((dist + o.eps) * dist))
			}
			continue
		}
		dx := o.dx.out(w, 2, i)
		clear(dx)
		if o.index[i] >= 0 {
			o.add(dx, x, o.x.row(w, 1, int(o.index[i])), o.coef[i], eps)
		}
		for j, n := range o.index {
			if int(n) == i {
				o.add(dx, x, o.x.row(w, 1, j), o.coef[j], -eps)
			}
		}
		o.dx.done(i, dx)
	}
}

func (o *koleoOp) add(dx, x, other []float32, coef, eps float32) {
	if coef == 0 {
		return
	}
	for k := range dx {
		dx[k] += coef * (x[k] - other[k] + eps)
	}
}
