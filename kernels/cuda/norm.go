package cuda

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// stripeRows is how many rows one partial column sum covers: a function of the shape alone, so that sums have
// one order. 64 rows keep the traffic of the partial sums below a tenth; 512 stripes fill any device.
func stripeRows(rows int) int { return max(64, (rows+511)/512) }

// columns launches a kernel that walks stripes of rows with one thread for per columns, and returns the number
// of stripes.
func (b *Backend) columns(file, name string, rows, cols, per int) {
	s := stripeRows(rows)
	threads := (cols + per - 1) / per
	b.run(file, name, [3]int{(threads + 127) / 128, (rows + s - 1) / s, 1}, [3]int{128, 1, 1}, 0)
}

// colReduce adds partial [stripes, cols], from float off of the workspace on, into out.
func (b *Backend) colReduce(out, partial *tensor.Tensor, off int, scale float64, accumulate bool, stripes, cols int) {
	b.args.reset().any(out).u64(partial.Addr()+uint64(4*off)).f32(scale).bool(accumulate).i32(stripes, cols)
	b.each("reduce", "col_reduce", cols, 1)
}

// LayerNorm normalises the rows of x and keeps their mean and rstd.
func (b *Backend) LayerNorm(y, mean, rstd, x, gamma, beta *tensor.Tensor, eps float64) {
	kernels.CheckLayerNorm(y, mean, rstd, x, gamma, beta)
	mustDevice(x.DType())
	rows, cols := kernels.Matrix(x)
	name, _ := form("layer_norm", vec(cols, y, x, gamma, beta), x)
	b.args.reset().ptr(y).ptr(mean).ptr(rstd).ptr(x).any(gamma).any(beta).f32(eps).i32(rows, cols)
	b.rows("rows", name, rows, cols)
}

// LayerNormBackward is the gradient of LayerNorm.
func (b *Backend) LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma *tensor.Tensor, accumulate bool) {
	kernels.CheckLayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
	mustDevice(x.DType())
	rows, cols := kernels.Matrix(x)
	if rows == 0 {
		return
	}
	if dgamma != nil {
		s := stripeRows(rows)
		stripes := (rows + s - 1) / s
		partial := b.scratch.floats(2 * stripes * cols)
		name, per := form("layer_norm_params", vec(cols, dy, x), x)
		b.args.reset().ptr(partial).ptr(dy).ptr(x).ptr(mean).ptr(rstd).i32(rows, cols, s)
		b.columns("rows", name, rows, cols, per)
		b.colReduce(dgamma, partial, 0, 1, true, stripes, cols)
		b.colReduce(dbeta, partial, stripes*cols, 1, true, stripes, cols)
	}
	name, _ := form("layer_norm_backward", vec(cols, dx, dy, x, gamma), x)
	b.args.reset().ptr(dx).ptr(dy).ptr(x).ptr(mean).ptr(rstd).any(gamma).bool(accumulate).i32(rows, cols)
	b.rows("rows", name, rows, cols)
}

// L2Normalize is y[r] = x[r]/max(‖x[r]‖, eps).
func (b *Backend) L2Normalize(y, norm, x *tensor.Tensor, eps float64) {
	kernels.CheckL2Normalize(y, norm, x)
	mustDevice(x.DType())
	rows, cols := kernels.Matrix(x)
	name, _ := form("l2_normalize", vec(cols, y, x), x)
	b.args.reset().ptr(y).ptr(norm).ptr(x).f32(eps).i32(rows, cols)
	b.rows("rows", name, rows, cols)
}

// L2NormalizeBackward is the gradient of L2Normalize.
func (b *Backend) L2NormalizeBackward(dx, dy, y, norm *tensor.Tensor, eps float64) {
	kernels.CheckL2NormalizeBackward(dx, dy, y, norm)
	mustDevice(y.DType())
	rows, cols := kernels.Matrix(y)
	name, _ := form("l2_normalize_backward", vec(cols, dx, dy, y), y)
	b.args.reset().ptr(dx).ptr(dy).ptr(y).ptr(norm).f32(eps).i32(rows, cols)
	b.rows("rows", name, rows, cols)
}

// WeightNorm is w[r] = gain[r]·v[r]/‖v[r]‖.
func (b *Backend) WeightNorm(w, norm, v, gain *tensor.Tensor) {
	kernels.CheckWeightNorm(w, norm, v, gain)
	mustDevice(w.DType())
	rows, cols := kernels.Matrix(w)
	name, _ := form("weight_norm", vec(cols, w, v), w, v)
	b.args.reset().ptr(w).ptr(norm).ptr(v).any(gain).i32(rows, cols)
	b.rows("rows", name, rows, cols)
}

// WeightNormBackward accumulates the gradients of WeightNorm.
func (b *Backend) WeightNormBackward(dv, dgain, dw, v, gain, norm *tensor.Tensor) {
	kernels.CheckWeightNormBackward(dv, dgain, dw, v, gain, norm)
	mustDevice(dw.DType())
	rows, cols := kernels.Matrix(dw)
	name, _ := form("weight_norm_backward", vec(cols, dv, dw, v), dv, dw, v)
	b.args.reset().ptr(dv).any(dgain).ptr(dw).ptr(v).any(gain).ptr(norm).i32(rows, cols)
	b.rows("rows", name, rows, cols)
}
