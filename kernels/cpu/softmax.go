package cpu

import (
	"github.com/dino-mx/dmx/kernels"
	"math"

	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

type lseOp struct {
	lse       []float32
	x, centre matrix
	inv       float32
}

// RowLogSumExp is lse[r] = log Σ_k exp((x[r,k]-centre[k])·invTemp).
func (b *Backend) RowLogSumExp(lse, x, centre *tensor.Tensor, invTemp float64) {
	kernels.CheckRowLogSumExp(lse, x, centre)
	o := lseOp{lse.F32(), asMatrix(x), asVector(centre), float32(invTemp)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.lse = o
	b.run(&b.ops.lse, o.x.rows, rowGrain(o.x.cols))
}

func (o *lseOp) do(w *worker, lo, hi int) {
	for r := lo; r < hi; r++ {
		// Chunk by chunk, with the sum rescaled where a chunk raises the maximum, so that the row is read once.
		top, sum := math.Inf(-1), 0.0
		for i := 0; i < o.x.cols; i += chunk {
			j := min(i+chunk, o.x.cols)
			x, c := o.x.part(w, 0, r, i, j), centrePart(&o.centre, w, 1, i, j)
			var m float32
			if c == nil {
				m = vec.Max(x)
			} else {
				m = vec.MaxDiff(x, c)
			}
			t := float64(m * o.inv)
			if t > top {
				sum *= math.Exp(top - t)
				top = t
			}
			if !math.IsInf(top, -1) {
				sum += float64(vec.SumExp(x, c, o.inv, float32(-top)))
			}
		}
		o.lse[r] = float32(top + math.Log(sum))
	}
}

func centrePart(c *matrix, w *worker, i, lo, hi int) []float32 {
	if c.empty() {
		return nil
	}
	return c.part(w, i, 0, lo, hi)
}

type colExpOp struct {
	out, x, centre matrix
	lse            []float32
	inv            float32
}

// colStripe is how many columns ColSumExp adds up at a time.
const colStripe = 1024

// ColSumExp is out[k] = Σ_r exp((x[r,k]-centre[k])·invTemp - lse[r]).
func (b *Backend) ColSumExp(out, x, centre, lse *tensor.Tensor, invTemp float64) {
	kernels.CheckColSumExp(out, x, centre, lse)
	o := colExpOp{asVector(out), asMatrix(x), asVector(centre), lse.F32(), float32(invTemp)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.colExp = o
	b.run(&b.ops.colExp, blocks(o.x.cols, colStripe), 1)
}

func (o *colExpOp) do(w *worker, lo, hi int) {
	for s := lo; s < hi; s++ {
		i, j := s*colStripe, min((s+1)*colStripe, o.x.cols)
		c, acc := centrePart(&o.centre, w, 1, i, j), o.out.outPart(w, 2, 0, i, j)
		clear(acc)
		for r := range o.x.rows {
			vec.AddExp(acc, o.x.part(w, 0, r, i, j), c, o.inv, -o.lse[r])
		}
		o.out.donePart(0, i, j, acc)
	}
}

type softmaxOp struct {
	p, x, centre matrix
	lse          []float32
	inv          float32
}

// SoftmaxRows is p[r,k] = exp((x[r,k]-centre[k])·invTemp - lse[r]).
func (b *Backend) SoftmaxRows(p, x, centre, lse *tensor.Tensor, invTemp float64) {
	kernels.CheckSoftmaxRows(p, x, centre, lse)
	o := softmaxOp{asMatrix(p), asMatrix(x), asVector(centre), lse.F32(), float32(invTemp)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.softmax = o
	b.run(&b.ops.softmax, o.x.rows, rowGrain(o.x.cols))
}

func (o *softmaxOp) do(w *worker, lo, hi int) {
	for r := lo; r < hi; r++ {
		for i := 0; i < o.x.cols; i += chunk {
			j := min(i+chunk, o.x.cols)
			y := o.p.outPart(w, 2, r, i, j)
			vec.Exp(y, o.x.part(w, 0, r, i, j), centrePart(&o.centre, w, 1, i, j), o.inv, -o.lse[r])
			o.p.donePart(r, i, j, y)
		}
	}
}

type sinkhornOp struct {
	centre     matrix
	colsum     []float32
	scale, inv float64
}

// SinkhornCentre is centre[k] += log(max(colsum[k], kernels.Tiny)·scale)/invTemp.
func (b *Backend) SinkhornCentre(centre, colsum *tensor.Tensor, scale, invTemp float64) {
	kernels.CheckSinkhornCentre(centre, colsum)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.sinkhorn = sinkhornOp{asVector(centre), colsum.F32(), scale, invTemp}
	b.run(&b.ops.sinkhorn, blocks(centre.Len(), chunk), 1)
}

func (o *sinkhornOp) do(w *worker, lo, hi int) {
	for c := lo; c < hi; c++ {
		i, j := c*chunk, min((c+1)*chunk, o.centre.cols)
		y := o.centre.part(w, 0, 0, i, j)
		for k, s := range o.colsum[i:j] {
			y[k] = float32(float64(y[k]) + math.Log(math.Max(float64(s), kernels.Tiny)*o.scale)/o.inv)
		}
		o.centre.donePart(0, i, j, y)
	}
}
