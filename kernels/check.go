package kernels

import (
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// The Check functions are the shape and type rules of the operations, one for each, called first thing by every
// backend. A broken rule is a bug of the caller, so they panic, with the operation and both tensors in the
// message. They allocate nothing when all is well. Rules that hold everywhere:
//
//   - A tensor is compared as the matrix [rows, last dimension]; a vector by its number of elements. Counts are
//     equal, not merely sufficient: a stretch of rows is passed as a view.
//   - "working type" is f32, bf16 or f64. The matrices of one call have one working type unless noted.
//   - "statistic" is f32, or f64 beside f64 operands.
//   - "parameter" is the operands' type or f32: a vector such as a bias, or a gradient that is accumulated.

// Matrix reads a tensor as [rows, cols], cols being its last dimension. A scalar is [1,1].
func Matrix(t *tensor.Tensor) (rows, cols int) {
	s := t.Shape()
	if len(s) == 0 {
		return 1, 1
	}
	rows = 1
	for _, d := range s[:len(s)-1] {
		rows *= d
	}
	return rows, s[len(s)-1]
}

func isNil(op, name string) {
	panic(fmt.Sprintf("kernels: %s: %s is nil", op, name))
}

func describe(t *tensor.Tensor) string { return t.DType().String() + t.Shape().String() }

// mustWork wants a tensor of a working type.
func mustWork(op, name string, t *tensor.Tensor) {
	if t == nil {
		isNil(op, name)
	}
	if !t.DType().IsFloat() {
		panic(fmt.Sprintf("kernels: %s: %s %s is not of a float type", op, name, describe(t)))
	}
}

// mustIndex wants an i32 vector of n elements, one for each of something about other.
func mustIndex(op, name string, t *tensor.Tensor, n int, otherName string, other *tensor.Tensor) {
	if t == nil {
		isNil(op, name)
	}
	if t.DType() != tensor.I32 || t.Len() != n {
		panic(fmt.Sprintf("kernels: %s: %s %s is not i32[%d], as %s %s asks", op, name, describe(t), n, otherName, describe(other)))
	}
}

// mustType wants t to have other's type.
func mustType(op, name string, t *tensor.Tensor, otherName string, other *tensor.Tensor) {
	if t == nil {
		isNil(op, name)
	}
	if t.DType() != other.DType() {
		panic(fmt.Sprintf("kernels: %s: %s %s is not of the type of %s %s", op, name, describe(t), otherName, describe(other)))
	}
}

// mustStat wants a statistic beside other: f32, or f64 beside f64.
func mustStat(op, name string, t *tensor.Tensor, n int, otherName string, other *tensor.Tensor) {
	if t == nil {
		isNil(op, name)
	}
	if d := t.DType(); d != tensor.F32 && (d != tensor.F64 || other.DType() != tensor.F64) {
		panic(fmt.Sprintf("kernels: %s: %s %s is not a statistic (f32, or f64 beside f64) for %s %s", op, name, describe(t), otherName, describe(other)))
	}
	mustLen(op, name, t, n, otherName, other)
}

// mustParamType wants a parameter beside other: other's type, or f32.
func mustParamType(op, name string, t *tensor.Tensor, otherName string, other *tensor.Tensor) {
	if t == nil {
		isNil(op, name)
	}
	if d := t.DType(); d != tensor.F32 && d != other.DType() {
		panic(fmt.Sprintf("kernels: %s: %s %s is neither f32 nor of the type of %s %s", op, name, describe(t), otherName, describe(other)))
	}
}

// mustParam wants a parameter vector of n elements beside other.
func mustParam(op, name string, t *tensor.Tensor, n int, otherName string, other *tensor.Tensor) {
	mustParamType(op, name, t, otherName, other)
	mustLen(op, name, t, n, otherName, other)
}

// mustLen wants n elements.
func mustLen(op, name string, t *tensor.Tensor, n int, otherName string, other *tensor.Tensor) {
	if t == nil {
		isNil(op, name)
	}
	if t.Len() != n {
		panic(fmt.Sprintf("kernels: %s: %s %s does not have %d elements, as %s %s asks", op, name, describe(t), n, otherName, describe(other)))
	}
}

// mustMatrix wants [rows, cols].
func mustMatrix(op, name string, t *tensor.Tensor, rows, cols int, otherName string, other *tensor.Tensor) {
	if t == nil {
		isNil(op, name)
	}
	if r, c := Matrix(t); r != rows || c != cols {
		panic(fmt.Sprintf("kernels: %s: %s %s is not [%d %d], as %s %s asks", op, name, describe(t), rows, cols, otherName, describe(other)))
	}
}

// mustLike wants other's type and matrix.
func mustLike(op, name string, t *tensor.Tensor, otherName string, other *tensor.Tensor) {
	mustType(op, name, t, otherName, other)
	rows, cols := Matrix(other)
	mustMatrix(op, name, t, rows, cols, otherName, other)
}
