package cpu

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

// chunk is how many elements an element-wise operation handles at a time: a few arrays of it fit the
// first-level cache. Whole-tensor sums use chunks as their fixed blocks.
const chunk = 4096

type fillOp struct {
	x matrix
	v float32
}

// Fill sets every element to v.
func (b *Backend) Fill(dst *tensor.Tensor, v float64) {
	kernels.CheckFill(dst)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch dst.DType() {
	case tensor.F32, tensor.BF16:
	default:
		for i := range dst.Len() {
			dst.Set(i, v)
		}
		return
	}
	b.ops.fill = fillOp{asVector(dst), float32(v)}
	b.run(&b.ops.fill, blocks(dst.Len(), chunk), 64)
}

func (o *fillOp) do(_ *worker, lo, hi int) {
	lo, hi = lo*chunk, min(hi*chunk, o.x.cols)
	if o.x.h == nil {
		if f := o.x.f[lo:hi]; o.v == 0 {
			clear(f)
		} else {
			vec.Fill(f, o.v)
		}
		return
	}
	h, v := o.x.h[lo:hi], tensor.ToBF16(o.v)
	for i := range h {
		h[i] = v
	}
}

type copyOp struct{ dst, src matrix }

// Copy copies elements, rounding to nearest even where the type narrows.
func (b *Backend) Copy(dst, src *tensor.Tensor) {
	kernels.CheckCopy(dst, src)
	if dst.DType() == tensor.F64 || src.DType() == tensor.F64 || !dst.DType().IsFloat() {
		for i := range dst.Len() {
			dst.Set(i, src.At(i))
		}
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.copy = copyOp{asVector(dst), asVector(src)}
	b.run(&b.ops.copy, blocks(dst.Len(), chunk), 4)
}

func (o *copyOp) do(_ *worker, lo, hi int) {
	lo, hi = lo*chunk, min(hi*chunk, o.dst.cols)
	switch {
	case o.dst.h == nil && o.src.h == nil:
		copy(o.dst.f[lo:hi], o.src.f[lo:hi])
	case o.dst.h != nil && o.src.h != nil:
		copy(o.dst.h[lo:hi], o.src.h[lo:hi])
	case o.dst.h != nil:
		vec.Narrow(o.dst.h[lo:hi], o.src.f[lo:hi])
	default:
		vec.Widen(o.dst.f[lo:hi], o.src.h[lo:hi])
	}
}

type axpyOp struct {
	y, x  matrix
	a     float32
	scale bool // y = a·x instead of y += a·x
}

// Axpy is y += a·x.
func (b *Backend) Axpy(y *tensor.Tensor, a float64, x *tensor.Tensor) {
	kernels.CheckAxpy(y, x)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.axpy = axpyOp{y: asVector(y), x: asVector(x), a: float32(a)}
	b.run(&b.ops.axpy, blocks(y.Len(), chunk), 4)
}

// Scale is x *= a.
func (b *Backend) Scale(x *tensor.Tensor, a float64) {
	kernels.CheckScale(x)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.axpy = axpyOp{y: asVector(x), x: asVector(x), a: float32(a), scale: true}
	b.run(&b.ops.axpy, blocks(x.Len(), chunk), 4)
}

func (o *axpyOp) do(w *worker, lo, hi int) {
	for c := lo; c < hi; c++ {
		i, j := c*chunk, min((c+1)*chunk, o.y.cols)
		if o.scale {
			y := o.y.part(w, 0, 0, i, j)
			vec.Scale(y, y, o.a)
			o.y.donePart(0, i, j, y)
			continue
		}
		y := o.y.part(w, 0, 0, i, j)
		vec.Axpy(y, o.x.part(w, 1, 0, i, j), o.a)
		o.y.donePart(0, i, j, y)
	}
}

type rowsColsOp struct {
	out, x, row, col matrix
}

// ScaleRowsCols is out[r,c] = x[r,c]·row[r]·col[c].
func (b *Backend) ScaleRowsCols(out, x, row, col *tensor.Tensor) {
	kernels.CheckScaleRowsCols(out, x, row, col)
	o := rowsColsOp{asMatrix(out), asMatrix(x), asVector(row), asVector(col)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.rowsCols = o
	b.run(&b.ops.rowsCols, o.x.rows, rowGrain(o.x.cols))
}

func (o *rowsColsOp) do(w *worker, lo, hi int) {
	var col []float32
	if !o.col.empty() {
		col = o.col.row(w, 2, 0)
	}
	var rows []float32
	if !o.row.empty() {
		rows = o.row.part(w, 3, 0, lo, hi)
	}
	for r := lo; r < hi; r++ {
		a := float32(1)
		if rows != nil {
			a = rows[r-lo]
		}
		x, y := o.x.row(w, 0, r), o.out.out(w, 1, r)
		if col != nil {
			vec.MulScale(y, x, col, a)
		} else {
			vec.Scale(y, x, a)
		}
		o.out.done(r, y)
	}
}

type dropoutOp struct {
	out, x matrix
	keep   float32
	limit  uint64
	key    [2]uint32
	offset uint32
}

// Dropout is out[i] = x[i]/(1-p) where the element's random word is at least p, else 0.
func (b *Backend) Dropout(out, x *tensor.Tensor, p float64, seed uint64, offset uint32) {
	kernels.CheckDropout(out, x, p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.dropout = dropoutOp{
		out: asVector(out), x: asVector(x), keep: float32(1 / (1 - p)),
		limit: dropLimit(p), key: [2]uint32{uint32(seed), uint32(seed >> 32)}, offset: offset,
	}
	b.run(&b.ops.dropout, blocks(x.Len(), chunk), 1)
}

// dropLimit is the smallest word w with w/2^32 >= p.
func dropLimit(p float64) uint64 {
	v := p * (1 << 32)
	l := uint64(v)
	if float64(l) < v {
		l++
	}
	return l
}

func (o *dropoutOp) do(w *worker, lo, hi int) {
	for c := lo; c < hi; c++ {
		i, j := c*chunk, min((c+1)*chunk, o.x.cols)
		x, y := o.x.part(w, 0, 0, i, j), o.out.outPart(w, 1, 0, i, j)
		for k := 0; k < len(x); k += 4 {
			q := uint64(i+k) / 4
			words := tensor.Philox(o.key, [4]uint32{uint32(q), uint32(q >> 32), o.offset, 0})
			for l := range min(4, len(x)-k) {
				v := x[k+l] * o.keep
				if uint64(words[l]) < o.limit {
					v = 0
				}
				y[k+l] = v
			}
		}
		o.out.donePart(0, i, j, y)
	}
}
