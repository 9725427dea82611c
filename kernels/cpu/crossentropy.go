package cpu

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
)

type crossOp struct {
	ds, s, t, centre    matrix
	loss, slse, tlse, w []float32
	starts, rows        []int32
	sinv, tinv          float32
}

// crossChunk is how many prototypes are handled at a time: the pieces of a student row, its teachers and the
// gradient stay in the first-level cache.
const crossChunk = 1024

// CrossEntropy is the student/teacher loss over prototypes.
func (b *Backend) CrossEntropy(c kernels.CrossEntropy) {
	kernels.CheckCrossEntropy(c)
	o := crossOp{ds: asMatrix(c.DS), s: asMatrix(c.S), t: asMatrix(c.T), centre: asVector(c.Centre), loss: c.Loss.F32(), slse: c.SLSE.F32(),
		tlse: c.TLSE.F32(), w: c.Weights.F32(), starts: c.Starts.I32(), rows: c.Rows.I32(), sinv: float32(c.SInvTemp), tinv: float32(c.TInvTemp)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.cross = o
	b.run(&b.ops.cross, o.s.rows, 1)
}

func (o *crossOp) do(w *worker, lo, hi int) {
	for r := lo; r < hi; r++ {
		from, to := int(o.starts[r]), int(o.starts[r+1])
		total := float32(0)
		for _, v := range o.w[from:to] {
			total += v
		}
		sums := w.sums(to - from)
		clear(sums)
		for i := 0; i < o.s.cols; i += crossChunk {
			j := min(i+crossChunk, o.s.cols)
			s, c, acc := o.s.part(w, 0, r, i, j), centrePart(&o.centre, w, 1, i, j), w.buf(2, j-i)
			clear(acc)
			for p := from; p < to; p++ {
				q := int(o.rows[p])
				sums[p-from] += float64(vec.Cross(acc, o.t.part(w, 3, q, i, j), c, s, o.tinv, -o.tlse[q], o.sinv, -o.slse[r], o.w[p]))
			}
			if o.ds.empty() {
				continue
			}
			ds := o.ds.outPart(w, 4, r, i, j)
			vec.CrossGrad(ds, s, acc, o.sinv, -o.slse[r], total)
			o.ds.donePart(r, i, j, ds)
		}
		for p := from; p < to; p++ {
			o.loss[p] = float32(-sums[p-from]) * o.w[p]
		}
	}
}
