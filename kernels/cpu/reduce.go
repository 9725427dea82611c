package cpu

import (
	"github.com/dino-mx/dmx/kernels"
	"math"

	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

// stripe is how many columns a column reduction handles at a time.
const stripe = 64

// colRows is how many rows are summed in float32 before the sum goes into a float64 total.
const colRows = 64

type colSumOp struct {
	out, x matrix
	scale  float64
	add    bool
}

// ColSum is out[c] = scale·Σ_r x[r,c].
func (b *Backend) ColSum(out, x *tensor.Tensor, scale float64, accumulate bool) {
	kernels.CheckColSum(out, x)
	o := colSumOp{asVector(out), asMatrix(x), scale, accumulate}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.colSum = o
	b.run(&b.ops.colSum, blocks(o.x.cols, stripe), 1)
}

func (o *colSumOp) do(w *worker, lo, hi int) {
	for s := lo; s < hi; s++ {
		i, j := s*stripe, min((s+1)*stripe, o.x.cols)
		var total [stripe]float64
		var acc [stripe]float32
		for r := 0; r < o.x.rows; r += colRows {
			a := acc[:j-i]
			clear(a)
			for q := r; q < min(r+colRows, o.x.rows); q++ {
				vec.Axpy(a, o.x.part(w, 0, q, i, j), 1)
			}
			for k, v := range a {
				total[k] += float64(v)
			}
		}
		out := o.out.part(w, 1, 0, i, j)
		for k := range out {
			v := float32(total[k] * o.scale)
			if o.add {
				v += out[k]
			}
			out[k] = v
		}
		o.out.donePart(0, i, j, out)
	}
}

type momentsOp struct {
	mean, variance []float32
	x              matrix
}

// ColMoments writes the mean and biased variance of every column.
func (b *Backend) ColMoments(mean, variance, x *tensor.Tensor) {
	kernels.CheckColMoments(mean, variance, x)
	o := momentsOp{mean.F32(), variance.F32(), asMatrix(x)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.moments = o
	b.run(&b.ops.moments, blocks(o.x.cols, stripe), 1)
}

func (o *momentsOp) do(w *worker, lo, hi int) {
	n := float64(o.x.rows)
	for s := lo; s < hi; s++ {
		i, j := s*stripe, min((s+1)*stripe, o.x.cols)
		var mean, sq [stripe]float64
		for r := range o.x.rows {
			for k, v := range o.x.part(w, 0, r, i, j) {
				mean[k] += float64(v)
			}
		}
		for k := range mean {
			mean[k] /= n
		}
		for r := range o.x.rows {
			for k, v := range o.x.part(w, 0, r, i, j) {
				d := float64(v) - mean[k]
				sq[k] += d * d
			}
		}
		for k := range j - i {
			o.mean[i+k], o.variance[i+k] = float32(mean[k]), float32(sq[k]/n)
		}
	}
}

type sumOp struct {
	x       matrix
	parts   []float64
	entropy bool // sum x·log x instead of x
}

// Sum is out[0] = scale·Σ x.
func (b *Backend) Sum(out, x *tensor.Tensor, scale float64, accumulate bool) {
	kernels.CheckSum(out, x)
	b.mu.Lock()
	defer b.mu.Unlock()
	v := scale * b.total(x, false)
	if accumulate {
		v += out.At(0)
	}
	out.Set(0, v)
}

// Entropy is out[0] = -Σ q·log q with q = x/Σx.
func (b *Backend) Entropy(out, x *tensor.Tensor) {
	kernels.CheckEntropy(out, x)
	b.mu.Lock()
	defer b.mu.Unlock()
	// With S = Σx the sum is log S - Σ x·log x / S.
	s := b.total(x, false)
	out.Set(0, math.Log(s)-b.total(x, true)/s)
}

func (b *Backend) total(x *tensor.Tensor, entropy bool) float64 {
	n := blocks(x.Len(), chunk)
	b.ops.sum = sumOp{asVector(x), b.totals(n), entropy}
	b.run(&b.ops.sum, n, 4)
	t := 0.0
	for _, v := range b.ops.sum.parts {
		t += v
	}
	return t
}

func (o *sumOp) do(w *worker, lo, hi int) {
	for c := lo; c < hi; c++ {
		x := o.x.part(w, 0, 0, c*chunk, min((c+1)*chunk, o.x.cols))
		if !o.entropy {
			o.parts[c] = float64(vec.Sum(x))
			continue
		}
		t := 0.0
		for _, v := range x {
			if v > 0 {
				t += float64(v) * math.Log(float64(v))
			}
		}
		o.parts[c] = t
	}
}

type mseOp struct {
	da, a, b matrix
	parts    []float64
	slope    float32
}

// MSE is loss[0] = weight·Σ(a-b)²/n and da its gradient by a.
func (b *Backend) MSE(loss, da, a, target *tensor.Tensor, weight float64) {
	kernels.CheckMSE(loss, da, a, target)
	b.mu.Lock()
	defer b.mu.Unlock()
	n := blocks(a.Len(), chunk)
	b.ops.mse = mseOp{asVector(da), asVector(a), asVector(target), b.totals(n), float32(2 * weight / float64(a.Len()))}
	b.run(&b.ops.mse, n, 4)
	t := 0.0
	for _, v := range b.ops.mse.parts {
		t += v
	}
	loss.Set(0, weight*t/float64(a.Len()))
}

func (o *mseOp) do(w *worker, lo, hi int) {
	for c := lo; c < hi; c++ {
		i, j := c*chunk, min((c+1)*chunk, o.a.cols)
		x, y := o.a.part(w, 0, 0, i, j), o.b.part(w, 1, 0, i, j)
		o.parts[c] = float64(vec.SumSquaredDiff(x, y))
		if o.da.empty() {
			continue
		}
		d := o.da.outPart(w, 2, 0, i, j)
		vec.SubScale(d, x, y, o.slope)
		o.da.donePart(0, i, j, d)
	}
}
