package gemm

import (
	"fmt"
	"unsafe"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// matrix is a tensor read as rows, from a column on, without its bounds: kernels.CheckGemm has checked them.
type matrix struct {
	base  unsafe.Pointer // nil for a tensor that is not set
	ld    int            // elements from row to row
	bf16  bool
	bytes int // from base to the end, to tell overlaps
}

func view(name string, t *tensor.Tensor, col int) matrix {
	if t == nil || t.Len() == 0 {
		return matrix{}
	}
	_, cols := kernels.Matrix(t)
	switch t.DType() {
	case tensor.F32:
		s := t.F32()
		return matrix{unsafe.Pointer(&s[col]), cols, false, 4 * (len(s) - col)}
	case tensor.BF16:
		s := t.BF16()
		return matrix{unsafe.Pointer(&s[col]), cols, true, 2 * (len(s) - col)}
	}
	panic(fmt.Sprintf("gemm: %s %s is neither f32 nor bf16", name, t))
}

// at is the address of element (i,j).
func (m *matrix) at(i, j int) unsafe.Pointer {
	return unsafe.Add(m.base, (i*m.ld+j)*elemSize(m.bf16))
}

func (m *matrix) overlaps(o *matrix) bool {
	if m.base == nil || o.base == nil {
		return false
	}
	a, b := uintptr(m.base), uintptr(o.base)
	return a < b+uintptr(o.bytes) && b < a+uintptr(m.bytes)
}

// f32 returns n elements of row i from column j on: in place, or widened into buf.
func (m *matrix) f32(buf *float32, i, j, n int) *float32 {
	if m.base == nil {
		return nil
	}
	if !m.bf16 {
		return (*float32)(m.at(i, j))
	}
	widenRow(buf, m.at(i, j), n)
	return buf
}
