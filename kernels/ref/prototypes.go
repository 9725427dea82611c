package ref

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// RowLogSumExp is lse[r] = log Σ_k exp((x[r,k]-centre[k])·invTemp).
func (b *Backend) RowLogSumExp(lse, x, centre *tensor.Tensor, invTemp float64) {
	kernels.CheckRowLogSumExp(lse, x, centre)
	b.begin()
	rows, cols := kernels.Matrix(x)
	xs, centres, out := b.load(x), b.loadOr(centre, cols, 0), b.take(rows)
	for r := range rows {
		top := math.Inf(-1)
		for k := range cols {
			top = math.Max(top, (xs[r*cols+k]-centres[k])*invTemp)
		}
		sum := 0.0
		for k := range cols {
			sum += math.Exp((xs[r*cols+k]-centres[k])*invTemp - top)
		}
		out[r] = top + math.Log(sum)
	}
	store(lse, 0, out)
}

// ColSumExp is out[k] = Σ_r exp((x[r,k]-centre[k])·invTemp - lse[r]).
func (b *Backend) ColSumExp(out, x, centre, lse *tensor.Tensor, invTemp float64) {
	kernels.CheckColSumExp(out, x, centre, lse)
	b.begin()
	rows, cols := kernels.Matrix(x)
	xs, centres, lses, sum := b.load(x), b.loadOr(centre, cols, 0), b.load(lse), b.zeros(cols)
	for r := range rows {
		for k := range cols {
			sum[k] += math.Exp((xs[r*cols+k]-centres[k])*invTemp - lses[r])
		}
	}
	store(out, 0, sum)
}

// SoftmaxRows is p[r,k] = exp((x[r,k]-centre[k])·invTemp - lse[r]).
func (b *Backend) SoftmaxRows(p, x, centre, lse *tensor.Tensor, invTemp float64) {
	kernels.CheckSoftmaxRows(p, x, centre, lse)
	b.begin()
	rows, cols := kernels.Matrix(x)
	xs, centres, lses, out := b.load(x), b.loadOr(centre, cols, 0), b.load(lse), b.take(rows*cols)
	for r := range rows {
		for k := range cols {
			out[r*cols+k] = math.Exp((xs[r*cols+k]-centres[k])*invTemp - lses[r])
		}
	}
	store(p, 0, out)
}

// SinkhornCentre is centre[k] += log(max(colsum[k], Tiny)·scale)/invTemp.
func (b *Backend) SinkhornCentre(centre, colsum *tensor.Tensor, scale, invTemp float64) {
	kernels.CheckSinkhornCentre(centre, colsum)
	b.begin()
	step := b.take(colsum.Len())
	for k, v := range b.load(colsum) {
		step[k] = (math.Log(math.Max(v, kernels.Tiny)) + math.Log(scale)) / invTemp
	}
	b.addTo(centre, 0, step, true)
}

// CrossEntropy follows the formulas of kernels.CrossEntropy row by row.
func (b *Backend) CrossEntropy(c kernels.CrossEntropy) {
	kernels.CheckCrossEntropy(c)
	b.begin()
	rows, cols := kernels.Matrix(c.S)
	s, slse, t, tlse := b.load(c.S), b.load(c.SLSE), b.load(c.T), b.load(c.TLSE)
	centre, weights := b.loadOr(c.Centre, cols, 0), b.load(c.Weights)
	starts, teachers := c.Starts.I32(), c.Rows.I32()
	logPS, ds, loss := b.take(cols), b.take(cols), b.take(len(teachers))
	for r := range rows {
		for k := range cols {
			logPS[k] = s[r*cols+k]*c.SInvTemp - slse[r]
		}
		clear(ds)
		for j := starts[r]; j < starts[r+1]; j++ {
			q, w := int(teachers[j]), weights[j]
			loss[j] = 0
			for k := range cols {
				pt := math.Exp((t[q*cols+k]-centre[k])*c.TInvTemp - tlse[q])
				loss[j] -= w * pt * logPS[k]
				ds[k] += w * (math.Exp(logPS[k]) - pt) * c.SInvTemp
			}
		}
		if c.DS != nil {
			store(c.DS, r*cols, ds)
		}
	}
	store(c.Loss, 0, loss)
}

// Entropy is -Σ q·log q with q = x/Σx; a q of 0 adds nothing.
func (b *Backend) Entropy(out, x *tensor.Tensor) {
	kernels.CheckEntropy(out, x)
	b.begin()
	xs, result := b.load(x), b.zeros(1)
	sum := 0.0
	for _, v := range xs {
		sum += v
	}
	for _, v := range xs {
		if q := v / sum; q > 0 {
			result[0] -= q * math.Log(q)
		}
	}
	store(out, 0, result)
}
