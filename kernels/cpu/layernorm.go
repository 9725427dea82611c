package cpu

import (
	"github.com/dino-mx/dmx/kernels"
	"math"

	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

type layerNormOp struct {
	y, x, gamma, beta matrix
	mean, rstd        []float32
	eps               float64
}

// LayerNorm is y = (x-mean)·rstd·gamma + beta row by row.
func (b *Backend) LayerNorm(y, mean, rstd, x, gamma, beta *tensor.Tensor, eps float64) {
	kernels.CheckLayerNorm(y, mean, rstd, x, gamma, beta)
	o := layerNormOp{asMatrix(y), asMatrix(x), asVector(gamma), asVector(beta), mean.F32(), rstd.F32(), eps}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.norm = o
	b.run(&b.ops.norm, o.x.rows, rowGrain(o.x.cols))
}

func (o *layerNormOp) do(w *worker, lo, hi int) {
	gamma, beta := o.gamma.row(w, 2, 0), o.beta.row(w, 3, 0)
	n := float64(o.x.cols)
	for r := lo; r < hi; r++ {
		x, y := o.x.row(w, 0, r), o.y.out(w, 1, r)
		mean := float32(float64(vec.Sum(x)) / n)
		rstd := float32(1 / math.Sqrt(float64(vec.SumSquares(x, mean))/n+o.eps))
		vec.Normalize(y, x, gamma, beta, mean, rstd)
		o.mean[r], o.rstd[r] = mean, rstd
		o.y.done(r, y)
	}
}

// normBlock is how many rows share one partial sum of dgamma and dbeta.
const normBlock = 64

type layerNormGradOp struct {
	dx, dy, x, gamma matrix
	mean, rstd       []float32
	parts            []float32 // [blocks, 2, cols]: partial dgamma and dbeta; nil when frozen
	add              bool
}

// LayerNormBackward is the gradient of LayerNorm.
func (b *Backend) LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma *tensor.Tensor, accumulate bool) {
	kernels.CheckLayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
	o := layerNormGradOp{dx: asMatrix(dx), dy: asMatrix(dy), x: asMatrix(x), gamma: asVector(gamma),
		mean: mean.F32(), rstd: rstd.F32(), add: accumulate}
	cols := o.x.cols
	b.mu.Lock()
	defer b.mu.Unlock()
	n := blocks(o.x.rows, normBlock)
	if dgamma != nil || dbeta != nil {
		o.parts = b.partials(n * 2 * cols)
	}
	b.ops.normGrad = o
	b.run(&b.ops.normGrad, n, 1)
	if o.parts == nil {
		return
	}
	w := &b.workers[0]
	for i, t := range [2]*tensor.Tensor{dgamma, dbeta} {
		if t == nil {
			continue
		}
		m := asVector(t)
		acc := m.row(w, 0, 0)
		for k := range n {
			vec.Axpy(acc, o.parts[(2*k+i)*cols:(2*k+i+1)*cols], 1)
		}
		m.done(0, acc)
	}
}

func (o *layerNormGradOp) do(w *worker, lo, hi int) {
	gamma := o.gamma.row(w, 3, 0)
	cols := o.x.cols
	n := float32(cols)
	for blk := lo; blk < hi; blk++ {
		var dgamma, dbeta []float32
		if o.parts != nil {
			p := o.parts[2*blk*cols : 2*(blk+1)*cols]
			clear(p)
			dgamma, dbeta = p[:cols], p[cols:]
		}
		for r := blk * normBlock; r < min((blk+1)*normBlock, o.x.rows); r++ {
			dy, x := o.dy.row(w, 0, r), o.x.row(w, 1, r)
			mean, rstd := o.mean[r], o.rstd[r]
			g, gx := vec.LayerNormSums(dy, x, gamma, mean, rstd)
			if dgamma != nil {
				vec.LayerNormParams(dgamma, dbeta, dy, x, mean, rstd)
			}
			var dx []float32
			if o.add {
				dx = o.dx.row(w, 2, r)
				vec.LayerNormGradAdd(dx, dy, x, gamma, mean, rstd, g/n, gx/n)
			} else {
				dx = o.dx.out(w, 2, r)
				vec.LayerNormGrad(dx, dy, x, gamma, mean, rstd, g/n, gx/n)
			}
			o.dx.done(r, dx)
		}
	}
}
