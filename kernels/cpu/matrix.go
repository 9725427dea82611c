package cpu

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

// matrix is a float tensor seen as [rows, cols], of either storage type. A missing tensor is the zero matrix.
type matrix struct {
	f          []float32
	h          []uint16
	rows, cols int
}

func asMatrix(t *tensor.Tensor) matrix {
	if t == nil {
		return matrix{}
	}
	m := matrix{cols: 1}
	if s := t.Shape(); len(s) > 0 {
		m.cols = s[len(s)-1]
	}
	if m.cols > 0 {
		m.rows = t.Len() / m.cols
	}
	m.set(t)
	return m
}

// asVector is the tensor as one row.
func asVector(t *tensor.Tensor) matrix {
	if t == nil {
		return matrix{}
	}
	m := matrix{rows: 1, cols: t.Len()}
	m.set(t)
	return m
}

func (m *matrix) set(t *tensor.Tensor) {
	switch t.DType() {
	case tensor.F32:
		m.f = t.F32()
	case tensor.BF16:
		m.h = t.BF16()
	default:
		panic(fmt.Sprintf("kernels/cpu: %s where f32 or bf16 is wanted", t))
	}
}

func (m *matrix) empty() bool { return m.f == nil && m.h == nil }

// row reads row r: the memory itself if it is f32, else widened into scratch i of the worker.
func (m *matrix) row(w *worker, i, r int) []float32 { return m.part(w, i, r, 0, m.cols) }

// part reads columns lo to hi of row r.
func (m *matrix) part(w *worker, i, r, lo, hi int) []float32 {
	at := r * m.cols
	if m.h == nil {
		return m.f[at+lo : at+hi : at+hi]
	}
	d := w.buf(i, hi-lo)
	vec.Widen(d, m.h[at+lo:at+hi])
	return d
}

// out gives the memory to write row r into; done stores it.
func (m *matrix) out(w *worker, i, r int) []float32 { return m.outPart(w, i, r, 0, m.cols) }

func (m *matrix) outPart(w *worker, i, r, lo, hi int) []float32 {
	at := r * m.cols
	if m.h == nil {
		return m.f[at+lo : at+hi : at+hi]
	}
	return w.buf(i, hi-lo)
}

// done stores a row obtained from out, row or part, if that was a copy.
func (m *matrix) done(r int, v []float32) { m.donePart(r, 0, m.cols, v) }

func (m *matrix) donePart(r, lo, hi int, v []float32) {
	if m.h != nil {
		at := r * m.cols
		vec.Narrow(m.h[at+lo:at+hi], v)
	}
}
