package autograd

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// RowMap selects rows of a matrix. Index, i32 [n], holds the matrix row of each selected row; Inverse, i32 [rows],
// holds the position of each matrix row among the selected ones, or -1. Each row is selected at most once, so that the
// gradient of a selection is a selection by Inverse.
type RowMap struct {
	Index, Inverse *tensor.Tensor
}

// NewRowMap returns the map that selects the given rows of a matrix of n rows, in memory of b that lives until it is
// freed. It panics where a row is outside the matrix or selected twice.
func NewRowMap(b kernels.Backend, rows []int32, n int) (m RowMap, err error) {
	if m.Index, err = kernels.FromHost(b, tensor.FromI32(rows, len(rows))); err == nil {
		m.Inverse, err = kernels.FromHost(b, tensor.FromI32(inverse(nil, rows, n), n))
	}
	return m, err
}

// RowMap returns the map that selects the given rows of a matrix of n rows, in the tape's arena. It panics where a row
// is outside the matrix or selected twice.
func (t *Tape) RowMap(rows []int32, n int) RowMap {
	t.inverse = inverse(t.inverse, rows, n)
	return RowMap{
		Index:   kernels.FromHostIn(t.A, t.B, tensor.FromI32(rows, len(rows))),
		Inverse: kernels.FromHostIn(t.A, t.B, tensor.FromI32(t.inverse, n)),
	}
}

// inverse returns, for each of n matrix rows, its position in rows or -1. It uses the memory of dst where that fits.
func inverse(dst, rows []int32, n int) []int32 {
	dst = dst[:0]
	for range n {
		dst = append(dst, -1)
	}
	for i, r := range rows {
		if r < 0 || int(r) >= n {
			panic(fmt.Sprintf("autograd: row %d of a RowMap is outside a matrix of %d rows", r, n))
		}
		if dst[r] >= 0 {
			panic(fmt.Sprintf("autograd: a RowMap selects row %d twice", r))
		}
		dst[r] = int32(i)
	}
	return dst
}
