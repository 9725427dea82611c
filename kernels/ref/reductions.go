package ref

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// MSE is loss = weight·Σ(a-b)²/n and da = 2·weight·(a-b)/n.
func (b *Backend) MSE(loss, da, a, other *tensor.Tensor, weight float64) {
	kernels.CheckMSE(loss, da, a, other)
	b.begin()
	as, bs, grad, sum := b.load(a), b.load(other), b.take(a.Len()), b.zeros(1)
	n := float64(len(as))
	for i := range as {
		diff := as[i] - bs[i]
		sum[0] += weight * diff * diff / n
		grad[i] = 2 * weight * diff / n
	}
	store(loss, 0, sum)
	store(da, 0, grad)
}

// Sum is out[0] = scale·Σ x.
func (b *Backend) Sum(out, x *tensor.Tensor, scale float64, accumulate bool) {
	kernels.CheckSum(out, x)
	b.begin()
	sum := b.zeros(1)
	for _, v := range b.load(x) {
		sum[0] += v
	}
	sum[0] *= scale
	b.addTo(out, 0, sum, accumulate)
}

// ColMoments is the mean and the biased variance of every column.
func (b *Backend) ColMoments(mean, variance, x *tensor.Tensor) {
	kernels.CheckColMoments(mean, variance, x)
	b.begin()
	rows, cols := kernels.Matrix(x)
	xs, means, variances := b.load(x), b.zeros(cols), b.zeros(cols)
	for r := range rows {
		for c := range cols {
			means[c] += xs[r*cols+c]
		}
	}
	for c := range cols {
		means[c] /= float64(rows)
	}
	for r := range rows {
		for c := range cols {
			diff := xs[r*cols+c] - means[c]
			variances[c] += diff * diff
		}
	}
	for c := range cols {
		variances[c] /= float64(rows)
	}
	store(mean, 0, means)
	store(variance, 0, variances)
}
