package ref

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// NearestRows is index[i] = argmax over j != i of dots[i,j], the smallest such j; -1 where there is no other row.
func (b *Backend) NearestRows(index, dots *tensor.Tensor) {
	kernels.CheckNearestRows(index, dots)
	b.begin()
	n, _ := kernels.Matrix(dots)
	xs, out := b.load(dots), index.I32()
	for i := range n {
		best := -1
		for j := range n {
			if j != i && (best < 0 || xs[i*n+j] > xs[i*n+best]) {
				best = j
			}
		}
		out[i] = int32(best)
	}
}

// KoLeo is loss[i] = -weight·log(dist_i + eps) with dist_i = ‖x_i - x_index(i) + eps‖, and its gradient. A row
// without a neighbour (index -1) adds nothing.
func (b *Backend) KoLeo(loss, dx, x, index *tensor.Tensor, eps, minDist, weight float64) {
	kernels.CheckKoLeo(loss, dx, x, index)
	b.begin()
	n, d := kernels.Matrix(x)
	xs, diff, losses, grad := b.load(x), b.take(d), b.zeros(n), b.zeros(n*d)
	for i, j := range index.I32()[:n] {
		if j < 0 {
			continue
		}
		for c := range d {
			diff[c] = xs[i*d+c] - xs[int(j)*d+c] + eps
		}
		dist := math.Sqrt(dot(diff, diff))
		if dist < minDist {
			continue
		}
		losses[i] = -weight * math.Log(dist+eps)
		for c := range d {
			g := -weight / (dist + eps) * diff[c] / dist
			grad[i*d+c] += g
			grad[int(j)*d+c] -= g
		}
	}
	store(loss, 0, losses)
	store(dx, 0, grad)
}
