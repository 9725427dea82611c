package ref

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Gemm is out = epilogue(op(A)·op(B)), one dot product per element.
func (b *Backend) Gemm(g kernels.Gemm) {
	kernels.CheckGemm(g)
	b.begin()
	_, ldo := kernels.Matrix(g.Out)
	alpha := g.Alpha
	if alpha == 0 {
		alpha = 1
	}
	rowsA := b.rows(g.A, g.ACol, g.M, g.K, g.TransA)  // rows of op(A)
	colsB := b.rows(g.B, g.BCol, g.N, g.K, !g.TransB) // columns of op(B)
	bias := b.loadOr(g.Bias, g.N, 0)
	gamma := b.loadOr(g.Gamma, g.N, 1)
	rowScale := b.loadOr(g.RowScale, g.M, 1)
	residual := b.loadOr(nil, g.N, 0)
	z, gradOf := b.take(g.N), b.take(g.N)
	for m := range g.M {
		at := m*ldo + g.OutCol
		for n := range g.N {
			z[n] = alpha*dot(rowsA[m*g.K:(m+1)*g.K], colsB[n*g.K:(n+1)*g.K]) + bias[n]
		}
		if g.Pre != nil {
			store(g.Pre, at, z)
		}
		for n := range z {
			z[n] = activate(g.Act, z[n])
		}
		if g.GradOf != nil {
			fetch(gradOf, g.GradOf, at)
			for n := range z {
				z[n] *= slope(g.ActGrad, gradOf[n])
			}
		}
		if g.Residual != nil {
			fetch(residual, g.Residual, at)
		}
		for n := range z {
			z[n] = residual[n] + rowScale[m]*gamma[n]*z[n]
		}
		b.addTo(g.Out, at, z, g.Accumulate)
	}
}

// rows gathers n vectors of length k from the columns of t that start at col: its rows, or transposed its columns.
func (b *Backend) rows(t *tensor.Tensor, col, n, k int, transposed bool) []float64 {
	_, ld := kernels.Matrix(t)
	data, v := b.load(t), b.take(n*k)
	for i := range n {
		for j := range k {
			if transposed {
				v[i*k+j] = data[j*ld+col+i]
			} else {
				v[i*k+j] = data[i*ld+col+j]
			}
		}
	}
	return v
}

// ColSum is out[c] = scale·Σ_r x[r,c].
func (b *Backend) ColSum(out, x *tensor.Tensor, scale float64, accumulate bool) {
	kernels.CheckColSum(out, x)
	b.begin()
	rows, cols := kernels.Matrix(x)
	xs, sum := b.load(x), b.zeros(cols)
	for r := range rows {
		for c := range cols {
			sum[c] += xs[r*cols+c]
		}
	}
	for c := range sum {
		sum[c] *= scale
	}
	b.addTo(out, 0, sum, accumulate)
}

// LayerScaleBackward turns the gradient sums of a branch into those of gamma, w and b.
func (b *Backend) LayerScaleBackward(dw, db, dgamma, g, c, w, bias, gamma *tensor.Tensor) {
	kernels.CheckLayerScaleBackward(dw, db, dgamma, g, c, w, bias, gamma)
	b.begin()
	rows, cols := kernels.Matrix(w)
	gs, ws, gammas := b.load(g), b.load(w), b.load(gamma)
	cs, biases := b.loadOr(c, rows, 0), b.loadOr(bias, rows, 0)
	dgammas, dbs, dws := b.take(rows), b.take(rows), b.take(rows*cols)
	for n := range rows {
		row := gs[n*cols : (n+1)*cols]
		dgammas[n] = dot(ws[n*cols:(n+1)*cols], row) + biases[n]*cs[n]
		dbs[n] = gammas[n] * cs[n]
		for k, v := range row {
			dws[n*cols+k] = gammas[n] * v
		}
	}
	b.addTo(dgamma, 0, dgammas, true)
	if db != nil {
		b.addTo(db, 0, dbs, true)
	}
	if dw != nil {
		b.addTo(dw, 0, dws, true)
	}
}
