package gpu

import "fmt"

// TensorMap describes a 2-D matrix in device memory to the bulk copy engine (compute capability 9.0). What a copy
// reads outside the matrix is zero; what it writes there is dropped.
type TensorMap struct {
	Addr             uint64 // of the first element, 16-byte aligned
	ElemBytes        int    // 2 for bf16, 4 for f32
	Cols, Rows       int    // extent of the matrix in elements; Cols is the contiguous dimension
	RowBytes         int    // distance between rows, a multiple of 16
	BoxCols, BoxRows int    // extent of one copy
	Swizzle          int    // 0, 32, 64 or 128 bytes: the span within which a copy permutes 16-byte pieces in shared memory
}

// Check reports the first rule of the copy engine that m breaks (CUDA driver API, cuTensorMapEncodeTiled).
func (m TensorMap) Check() error {
	inner := m.BoxCols * m.ElemBytes
	switch {
	case m.ElemBytes != 2 && m.ElemBytes != 4:
		return fmt.Errorf("cuda: tensor map: ElemBytes is %d, want 2 (bf16) or 4 (f32)", m.ElemBytes)
	case m.Addr == 0 || m.Addr%16 != 0:
		return fmt.Errorf("cuda: tensor map: Addr is %#x, want a multiple of 16 that is not 0", m.Addr)
	case m.Cols < 1 || m.Cols > 1<<32 || m.Rows < 1 || m.Rows > 1<<32:
		return fmt.Errorf("cuda: tensor map: Rows x Cols is %d x %d, want 1 to 2^32 each", m.Rows, m.Cols)
	case m.RowBytes%16 != 0 || m.RowBytes >= 1<<40 || m.RowBytes < m.Cols*m.ElemBytes:
		return fmt.Errorf("cuda: tensor map: RowBytes is %d, want a multiple of 16 below 2^40 that holds %d columns of %d bytes", m.RowBytes, m.Cols, m.ElemBytes)
	case m.BoxCols < 1 || m.BoxCols > 256 || m.BoxRows < 1 || m.BoxRows > 256:
		return fmt.Errorf("cuda: tensor map: BoxRows x BoxCols is %d x %d, want 1 to 256 each", m.BoxRows, m.BoxCols)
	case inner%16 != 0:
		return fmt.Errorf("cuda: tensor map: a row of the box has %d bytes, want a multiple of 16", inner)
	case m.Swizzle != 0 && m.Swizzle != 32 && m.Swizzle != 64 && m.Swizzle != 128:
		return fmt.Errorf("cuda: tensor map: Swizzle is %d, want 0, 32, 64 or 128", m.Swizzle)
	case m.Swizzle != 0 && inner > m.Swizzle:
		return fmt.Errorf("cuda: tensor map: a row of the box has %d bytes, at most the %d of Swizzle fit", inner, m.Swizzle)
	}
	return nil
}
