package kernels

import (
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// CheckTransfer checks Upload and Download (op names which): equal types and numbers of elements.
func CheckTransfer(op string, dst, src *tensor.Tensor) {
	if dst == nil {
		isNil(op, "dst")
	}
	mustType(op, "src", src, "dst", dst)
	mustLen(op, "src", src, dst.Len(), "dst", dst)
}

// CheckFill checks Fill: any working type.
func CheckFill(dst *tensor.Tensor) { mustWork("Fill", "dst", dst) }

// CheckCopy checks Copy: as many elements; two working types, or one type of any kind.
func CheckCopy(dst, src *tensor.Tensor) {
	if dst == nil {
		isNil("Copy", "dst")
	}
	if src == nil {
		isNil("Copy", "src")
	}
	if dst.DType() != src.DType() {
		mustWork("Copy", "dst", dst)
		mustWork("Copy", "src", src)
	}
	mustLen("Copy", "dst", dst, src.Len(), "src", src)
}

// CheckAxpy checks Axpy: as many elements, any two working types.
func CheckAxpy(y, x *tensor.Tensor) {
	mustWork("Axpy", "y", y)
	mustWork("Axpy", "x", x)
	mustLen("Axpy", "x", x, y.Len(), "y", y)
}

// CheckScale checks Scale: any working type.
func CheckScale(x *tensor.Tensor) { mustWork("Scale", "x", x) }

// CheckScaleRowsCols checks ScaleRowsCols: out like x, row and col parameters.
func CheckScaleRowsCols(out, x, row, col *tensor.Tensor) {
	const op = "ScaleRowsCols"
	mustWork(op, "x", x)
	mustLike(op, "out", out, "x", x)
	rows, cols := Matrix(x)
	if row != nil {
		mustParam(op, "row", row, rows, "x", x)
	}
	if col != nil {
		mustParam(op, "col", col, cols, "x", x)
	}
}

// CheckDropout checks Dropout: out like x, 0 <= p < 1.
func CheckDropout(out, x *tensor.Tensor, p float64) {
	mustWork("Dropout", "x", x)
	mustType("Dropout", "out", out, "x", x)
	mustLen("Dropout", "out", out, x.Len(), "x", x)
	if !(p >= 0 && p < 1) {
		panic(fmt.Sprintf("kernels: Dropout: p is %g, not in [0,1), for x %s", p, describe(x)))
	}
}

// CheckActForward checks ActForward: out like x.
func CheckActForward(out, x *tensor.Tensor, act Activation) {
	mustWork("ActForward", "x", x)
	mustType("ActForward", "out", out, "x", x)
	mustLen("ActForward", "out", out, x.Len(), "x", x)
	mustActivation("ActForward", act, x)
}

// CheckActBackward checks ActBackward: dx and dy like x.
func CheckActBackward(dx, dy, x *tensor.Tensor, act Activation) {
	const op = "ActBackward"
	mustWork(op, "x", x)
	mustType(op, "dx", dx, "x", x)
	mustLen(op, "dx", dx, x.Len(), "x", x)
	mustType(op, "dy", dy, "x", x)
	mustLen(op, "dy", dy, x.Len(), "x", x)
	mustActivation(op, act, x)
}

// CheckSwiGLU checks SwiGLU: x [R,2H], out [R,H], one type.
func CheckSwiGLU(out, x *tensor.Tensor) {
	mustWork("SwiGLU", "out", out)
	rows, cols := Matrix(out)
	mustType("SwiGLU", "x", x, "out", out)
	mustMatrix("SwiGLU", "x", x, rows, 2*cols, "out", out)
}

// CheckSwiGLUBackward checks SwiGLUBackward: dy [R,H], dx and x [R,2H], one type.
func CheckSwiGLUBackward(dx, dy, x *tensor.Tensor) {
	const op = "SwiGLUBackward"
	mustWork(op, "dy", dy)
	rows, cols := Matrix(dy)
	mustType(op, "x", x, "dy", dy)
	mustMatrix(op, "x", x, rows, 2*cols, "dy", dy)
	mustLike(op, "dx", dx, "x", x)
}

func mustActivation(op string, act Activation, x *tensor.Tensor) {
	if act > Tanh {
		panic(fmt.Sprintf("kernels: %s: unknown activation %d for %s", op, act, describe(x)))
	}
}
