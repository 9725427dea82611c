package cpu

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

type patchifyOp struct {
	out           matrix
	images        matrix
	c, h, w       int
	rows, cols, p int
}

// Patchify cuts images into rows of pixels.
func (b *Backend) Patchify(out, images *tensor.Tensor, p int) {
	kernels.CheckPatchify(out, images, p)
	o := patchifyOp{out: asMatrix(out), images: asVector(images), p: p}
	o.c, o.h, o.w = images.Dim(1), images.Dim(2), images.Dim(3)
	o.rows, o.cols = o.h/p, o.w/p
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.patchify = o
	b.run(&b.ops.patchify, o.out.rows, rowGrain(o.out.cols))
}

func (o *patchifyOp) do(w *worker, lo, hi int) {
	for r := lo; r < hi; r++ {
		n, rest := r/(o.rows*o.cols), r%(o.rows*o.cols)
		py, px := rest/o.cols, rest%o.cols
		y, at := o.out.out(w, 0, r), 0
		for c := range o.c {
			for i := range o.p {
				src := ((n*o.c+c)*o.h+py*o.p+i)*o.w + px*o.p
				copy(y[at:at+o.p], o.images.part(w, 1, 0, src, src+o.p))
				at += o.p
			}
		}
		o.out.done(r, y)
	}
}

type gatherOp struct {
	out, table matrix
	index      []int32
	add        bool
}

// GatherRows is out[i] = table[index[i]], or += with accumulate.
func (b *Backend) GatherRows(out, table, index *tensor.Tensor, accumulate bool) {
	kernels.CheckGatherRows(out, table, index)
	o := gatherOp{asMatrix(out), asMatrix(table), index.I32(), accumulate}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.gather = o
	b.run(&b.ops.gather, o.out.rows, rowGrain(o.out.cols))
}

func (o *gatherOp) do(w *worker, lo, hi int) {
	for r := lo; r < hi; r++ {
		i := int(o.index[r])
		switch {
		case i < 0 && o.add:
		case i < 0:
			y := o.out.out(w, 0, r)
			clear(y)
			o.out.done(r, y)
		case o.add:
			y := o.out.row(w, 0, r)
			vec.Axpy(y, o.table.row(w, 1, i), 1)
			o.out.done(r, y)
		default:
			y := o.out.out(w, 0, r)
			copy(y, o.table.row(w, 1, i))
			o.out.done(r, y)
		}
	}
}

type scatterOp struct {
	dtable, dout matrix
	starts, rows []int32
	add          bool
}

// ScatterRows is dtable[r] = Σ_j dout[rows[j]], j from starts[r] to starts[r+1], or += with accumulate.
func (b *Backend) ScatterRows(dtable, dout, starts, rows *tensor.Tensor, accumulate bool) {
	kernels.CheckScatterRows(dtable, dout, starts, rows)
	o := scatterOp{asMatrix(dtable), asMatrix(dout), starts.I32(), rows.I32(), accumulate}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.scatter = o
	b.run(&b.ops.scatter, o.dtable.rows, rowGrain(o.dtable.cols))
}

func (o *scatterOp) do(w *worker, lo, hi int) {
	for r := lo; r < hi; r++ {
		from, to := o.starts[r], o.starts[r+1]
		if o.add && from == to {
			continue
		}
		// The sum is worked out beside a bf16 output, so that it is rounded once.
		y := o.dtable.row(w, 0, r)
		if !o.add {
			clear(y)
		}
		for _, j := range o.rows[from:to] {
			vec.Axpy(y, o.dout.row(w, 1, int(j)), 1)
		}
		o.dtable.done(r, y)
	}
}
