package ref

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// LayerNorm is y = (x-mean)·rstd·gamma + beta.
func (b *Backend) LayerNorm(y, mean, rstd, x, gamma, beta *tensor.Tensor, eps float64) {
	kernels.CheckLayerNorm(y, mean, rstd, x, gamma, beta)
	b.begin()
	rows, cols := kernels.Matrix(x)
	xs, gammas, betas := b.load(x), b.load(gamma), b.load(beta)
	ys, means, rstds := b.take(rows*cols), b.take(rows), b.take(rows)
	for r := range rows {
		row := xs[r*cols : (r+1)*cols]
		sum := 0.0
		for _, v := range row {
			sum += v
		}
		mu := sum / float64(cols)
		variance := 0.0
		for _, v := range row {
			variance += (v - mu) * (v - mu)
		}
		variance /= float64(cols)
		means[r], rstds[r] = mu, 1/math.Sqrt(variance+eps)
		for c, v := range row {
			ys[r*cols+c] = (v-mu)*rstds[r]*gammas[c] + betas[c]
		}
	}
	store(y, 0, ys)
	store(mean, 0, means)
	store(rstd, 0, rstds)
}

// LayerNormBackward is, with x̂ = (x-mean)·rstd and g = dy·gamma,
// dx = rstd·(g - mean(g) - x̂·mean(g·x̂)), dgamma += Σ_r dy·x̂, dbeta += Σ_r dy.
func (b *Backend) LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma *tensor.Tensor, accumulate bool) {
	kernels.CheckLayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
	b.begin()
	rows, cols := kernels.Matrix(x)
	xs, dys, means, rstds, gammas := b.load(x), b.load(dy), b.load(mean), b.load(rstd), b.load(gamma)
	dxs, dgammas, dbetas := b.take(rows*cols), b.zeros(cols), b.zeros(cols)
	for r := range rows {
		meanG, meanGX := 0.0, 0.0
		for c := range cols {
			xhat := (xs[r*cols+c] - means[r]) * rstds[r]
			g := dys[r*cols+c] * gammas[c]
			meanG += g / float64(cols)
			meanGX += g * xhat / float64(cols)
			dgammas[c] += dys[r*cols+c] * xhat
			dbetas[c] += dys[r*cols+c]
		}
		for c := range cols {
			xhat := (xs[r*cols+c] - means[r]) * rstds[r]
			g := dys[r*cols+c] * gammas[c]
			dxs[r*cols+c] = rstds[r] * (g - meanG - xhat*meanGX)
		}
	}
	b.addTo(dx, 0, dxs, accumulate)
	if dgamma != nil {
		b.addTo(dgamma, 0, dgammas, true)
		b.addTo(dbeta, 0, dbetas, true)
	}
}

// L2Normalize is y = x/max(‖x‖, eps).
func (b *Backend) L2Normalize(y, norm, x *tensor.Tensor, eps float64) {
	kernels.CheckL2Normalize(y, norm, x)
	b.begin()
	rows, cols := kernels.Matrix(x)
	xs, ys, norms := b.load(x), b.take(rows*cols), b.take(rows)
	for r := range rows {
		row := xs[r*cols : (r+1)*cols]
		norms[r] = math.Max(math.Sqrt(dot(row, row)), eps)
		for c, v := range row {
			ys[r*cols+c] = v / norms[r]
		}
	}
	store(y, 0, ys)
	store(norm, 0, norms)
}

// L2NormalizeBackward is dx = (dy - y·(y·dy))/norm, without the projection where the norm was eps.
func (b *Backend) L2NormalizeBackward(dx, dy, y, norm *tensor.Tensor, eps float64) {
	kernels.CheckL2NormalizeBackward(dx, dy, y, norm)
	b.begin()
	rows, cols := kernels.Matrix(y)
	ys, dys, norms, dxs := b.load(y), b.load(dy), b.load(norm), b.take(rows*cols)
	if norm.DType() == tensor.F32 {
		eps = float64(float32(eps)) // as the forward pass stored it
	}
	for r := range rows {
		yr, dyr := ys[r*cols:(r+1)*cols], dys[r*cols:(r+1)*cols]
		along := dot(yr, dyr)
		if norms[r] == eps {
			along = 0
		}
		for c := range cols {
			dxs[r*cols+c] = (dyr[c] - yr[c]*along) / norms[r]
		}
	}
	store(dx, 0, dxs)
}

// WeightNorm is w = gain·v/‖v‖.
func (b *Backend) WeightNorm(w, norm, v, gain *tensor.Tensor) {
	kernels.CheckWeightNorm(w, norm, v, gain)
	b.begin()
	rows, cols := kernels.Matrix(v)
	vs, gains, ws, norms := b.load(v), b.loadOr(gain, rows, 1), b.take(rows*cols), b.take(rows)
	for r := range rows {
		row := vs[r*cols : (r+1)*cols]
		norms[r] = math.Sqrt(dot(row, row))
		for c, v := range row {
			ws[r*cols+c] = gains[r] * v / norms[r]
		}
	}
	store(w, 0, ws)
	store(norm, 0, norms)
}

// WeightNormBackward is, with u = v/‖v‖, dgain += dw·u and dv += gain/‖v‖·(dw - u·(u·dw)).
func (b *Backend) WeightNormBackward(dv, dgain, dw, v, gain, norm *tensor.Tensor) {
	kernels.CheckWeightNormBackward(dv, dgain, dw, v, gain, norm)
	b.begin()
	rows, cols := kernels.Matrix(v)
	vs, dws, norms, gains := b.load(v), b.load(dw), b.load(norm), b.loadOr(gain, rows, 1)
	dvs, dgains := b.take(rows*cols), b.take(rows)
	for r := range rows {
		vr, dwr := vs[r*cols:(r+1)*cols], dws[r*cols:(r+1)*cols]
		dgains[r] = dot(vr, dwr) / norms[r]
		for c := range cols {
			u := vr[c] / norms[r]
			dvs[r*cols+c] = gains[r] / norms[r] * (dwr[c] - u*dgains[r])
		}
	}
	b.addTo(dv, 0, dvs, true)
	if dgain != nil {
		b.addTo(dgain, 0, dgains, true)
	}
}
