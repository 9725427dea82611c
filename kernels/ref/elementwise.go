package ref

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Fill sets every element to v.
func (b *Backend) Fill(dst *tensor.Tensor, v float64) {
	kernels.CheckFill(dst)
	b.begin()
	store(dst, 0, b.loadOr(nil, dst.Len(), v))
}

// Copy copies elements, rounding where dst is narrower.
func (b *Backend) Copy(dst, src *tensor.Tensor) {
	kernels.CheckCopy(dst, src)
	b.begin()
	if dst.DType() == src.DType() {
		copy(dst.Bytes(), src.Bytes())
		return
	}
	store(dst, 0, b.load(src))
}

// Axpy is y += a·x.
func (b *Backend) Axpy(y *tensor.Tensor, a float64, x *tensor.Tensor) {
	kernels.CheckAxpy(y, x)
	b.begin()
	v := b.take(x.Len())
	for i, x := range b.load(x) {
		v[i] = a * x
	}
	b.addTo(y, 0, v, true)
}

// Scale is x *= a.
func (b *Backend) Scale(x *tensor.Tensor, a float64) {
	kernels.CheckScale(x)
	b.begin()
	v := b.take(x.Len())
	for i, x := range b.load(x) {
		v[i] = a * x
	}
	store(x, 0, v)
}

// ScaleRowsCols is out[r,c] = x[r,c]·row[r]·col[c].
func (b *Backend) ScaleRowsCols(out, x, row, col *tensor.Tensor) {
	kernels.CheckScaleRowsCols(out, x, row, col)
	b.begin()
	rows, cols := kernels.Matrix(x)
	xs, rs, cs, v := b.load(x), b.loadOr(row, rows, 1), b.loadOr(col, cols, 1), b.take(x.Len())
	for r := range rows {
		for c := range cols {
			v[r*cols+c] = xs[r*cols+c] * rs[r] * cs[c]
		}
	}
	store(out, 0, v)
}

// Dropout keeps x[i]/(1-p) where the random word of element i is at least p·2^32, else writes 0.
func (b *Backend) Dropout(out, x *tensor.Tensor, p float64, seed uint64, offset uint32) {
	kernels.CheckDropout(out, x, p)
	b.begin()
	v := b.take(x.Len())
	for i, x := range b.load(x) {
		block := uint64(i / 4)
		words := tensor.Philox([2]uint32{uint32(seed), uint32(seed >> 32)}, [4]uint32{uint32(block), uint32(block >> 32), offset, 0})
		v[i] = 0
		if float64(words[i%4])/(1<<32) >= p {
			v[i] = x / (1 - p)
		}
	}
	store(out, 0, v)
}
