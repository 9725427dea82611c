package cuda

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// stripeRows is how many rows one partial column sum covers: a function of the shape alone, so that sums have
// one order. 64 rows keep the traffic of the partial sums below a tenth; 512 stripes fill any device.
func stripeRows(rows int) int { return max(64, (rows+511)/512) }

// columns launches a kernel that walks over stripes of rows with one thread for per columns.
func (b *Backend) columns(file, name string, cols, stripes, per int) {
	threads := (cols + per - 1) / per
	b.run(file, name, [3]int{(threads + 127) / 128, stripes, 1}, [3]int{128, 1, 1}, 0)
}

// colReduce adds partial [stripes, cols] into out or, where out is narrower, into out and then rest. The more stripes,
// the more threads share a column, 16 at most.
func (b *Backend) colReduce(out, rest, partial *tensor.Tensor, scale float64, accumulate bool, stripes, cols int) {
	tall := 1
	for tall < 16 && 4*tall <= stripes {
		tall *= 2
	}
	wide := max(32, 256/tall)
	b.args.reset().any(out).any(rest).ptr(partial).f32(scale).bool(accumulate).i32(stripes, cols, out.Len())
	b.run("reduce", "col_reduce", [3]int{(cols + wide - 1) / wide, 1, 1}, [3]int{wide, tall, 1}, 0)
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

// The stripes of LayerNormBackward: at most two for each of the 132 processors of an H100, and of at least 32 rows, so that
// partial sums are a small share of the traffic. Any device takes the same, so that sums have one order.
const (
	normStripes    = 264
	normStripeRows = 32
	normThreads    = 512 // of a block; a row of 16-byte vectors must fit
)

// LayerNormBackward is the gradient of LayerNorm.
func (b *Backend) LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma *tensor.Tensor, accumulate bool) {
	kernels.CheckLayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
	mustDevice(x.DType())
	rows, cols := kernels.Matrix(x)
	if rows == 0 {
		return
	}
	stripe := max(normStripeRows, (rows+normStripes-1)/normStripes)
	stripes := (rows + stripe - 1) / stripe
	work := b.scratch.floats(2*stripes*cols + 2*rows)
	partial, sums := work.Addr(), work.Addr()+uint64(4*2*stripes*cols)
	if dgamma == nil {
		partial = 0
	}
	per := 16 / x.DType().Size()
	if vectors := cols / per; cols%per == 0 && vectors <= normThreads && aligned16(dx, dy, x, gamma) {
		wide := (vectors + 31) / 32 * 32
		tall := min(normThreads/wide, stripe, rows)
		b.args.reset().ptr(dx).u64(partial).ptr(dy).ptr(x).ptr(mean).ptr(rstd).any(gamma).bool(accumulate).i32(rows, cols, stripe)
		b.run("rows", "layer_norm_backward_"+x.DType().String()+"v", [3]int{stripes, 1, 1}, [3]int{wide, tall, 1}, 0)
	} else {
		wide := min(256, (cols+31)/32*32)
		b.args.reset().ptr(dx).u64(partial).u64(sums).ptr(dy).ptr(x).ptr(mean).ptr(rstd).any(gamma).bool(accumulate).i32(rows, cols, stripe)
		b.run("rows", "layer_norm_backward_"+x.DType().String(), [3]int{stripes, 1, 1}, [3]int{wide, 1, 1}, 0)
	}
	if dgamma != nil {
		b.colReduce(dgamma, dbeta, work, 1, true, stripes, 2*cols)
	}
}

// aligned16 reports whether every tensor can be read in vectors of 16 bytes.
func aligned16(ts ...*tensor.Tensor) bool {
	for _, t := range ts {
		if t.Addr()%16 != 0 {
			return false
		}
	}
	return true
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
