package cuda

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Fill sets every element to v.
func (b *Backend) Fill(dst *tensor.Tensor, v float64) {
	kernels.CheckFill(dst)
	mustDevice(dst.DType())
	name, per := form("fill", vec(dst.Len(), dst), dst)
	b.args.reset().ptr(dst).f32(v).i32(dst.Len())
	b.each("elementwise", name, dst.Len(), per)
}

// Axpy is y += a·x.
func (b *Backend) Axpy(y *tensor.Tensor, a float64, x *tensor.Tensor) {
	kernels.CheckAxpy(y, x)
	mustDevice(y.DType())
	mustDevice(x.DType())
	name, per := form("axpy", vec(y.Len(), y, x), y, x)
	b.args.reset().ptr(y).ptr(x).f32(a).i32(y.Len())
	b.each("elementwise", name, y.Len(), per)
}

// Scale is x *= a.
func (b *Backend) Scale(x *tensor.Tensor, a float64) {
	kernels.CheckScale(x)
	mustDevice(x.DType())
	name, per := form("scale", vec(x.Len(), x), x)
	b.args.reset().ptr(x).f32(a).i32(x.Len())
	b.each("elementwise", name, x.Len(), per)
}

// ScaleRowsCols is out[r,c] = x[r,c]·row[r]·col[c].
func (b *Backend) ScaleRowsCols(out, x, row, col *tensor.Tensor) {
	kernels.CheckScaleRowsCols(out, x, row, col)
	mustDevice(x.DType())
	_, cols := kernels.Matrix(x)
	name, per := form("scale_rows_cols", vec(cols, out, x, col), x)
	b.args.reset().ptr(out).ptr(x).any(row).any(col).i32(cols, x.Len())
	b.each("elementwise", name, x.Len(), per)
}

// Dropout zeroes elements with probability p and scales the others by 1/(1-p).
func (b *Backend) Dropout(out, x *tensor.Tensor, p float64, seed uint64, offset uint32) {
	kernels.CheckDropout(out, x, p)
	mustDevice(x.DType())
	name, _ := form("dropout", vec(x.Len(), out, x), x)
	b.args.reset().ptr(out).ptr(x).f32(p, 1/(1-p)).u64(seed).u32(offset).i32(x.Len())
	b.each("elementwise", name, x.Len(), 4)
}

// ActForward is out = act(x).
func (b *Backend) ActForward(out, x *tensor.Tensor, act kernels.Activation) {
	kernels.CheckActForward(out, x, act)
	mustDevice(x.DType())
	if b.wide(x.Len(), out, x) {
		b.args.reset().ptr(out).ptr(x).i32(int(act), x.Len())
		b.each("wide", wideForm("act", x), x.Len(), 2*accessLen(x))
		return
	}
	name, per := form("act", vec(x.Len(), out, x), x)
	b.args.reset().ptr(out).ptr(x).i32(int(act), x.Len())
	b.each("elementwise", name, x.Len(), per)
}

// ActBackward is dx = dy·act'(x).
func (b *Backend) ActBackward(dx, dy, x *tensor.Tensor, act kernels.Activation) {
	kernels.CheckActBackward(dx, dy, x, act)
	mustDevice(x.DType())
	if b.wide(x.Len(), dx, dy, x) {
		b.args.reset().ptr(dx).ptr(dy).ptr(x).i32(int(act), x.Len())
		b.each("wide", wideForm("act_backward", x), x.Len(), 2*accessLen(x))
		return
	}
	name, per := form("act_backward", vec(x.Len(), dx, dy, x), x)
	b.args.reset().ptr(dx).ptr(dy).ptr(x).i32(int(act), x.Len())
	b.each("elementwise", name, x.Len(), per)
}

// SwiGLU is out[r,j] = silu(x[r,j])·x[r,H+j].
func (b *Backend) SwiGLU(out, x *tensor.Tensor) {
	kernels.CheckSwiGLU(out, x)
	mustDevice(x.DType())
	_, h := kernels.Matrix(out)
	name, per := form("swiglu", vec(h, out, x), x)
	b.args.reset().ptr(out).ptr(x).i32(h, out.Len())
	b.each("elementwise", name, out.Len(), per)
}

// SwiGLUBackward is the gradient of SwiGLU.
func (b *Backend) SwiGLUBackward(dx, dy, x *tensor.Tensor) {
	kernels.CheckSwiGLUBackward(dx, dy, x)
	mustDevice(x.DType())
	_, h := kernels.Matrix(dy)
	name, per := form("swiglu_backward", vec(h, dx, dy, x), x)
	b.args.reset().ptr(dx).ptr(dy).ptr(x).i32(h, dy.Len())
	b.each("elementwise", name, dy.Len(), per)
}
