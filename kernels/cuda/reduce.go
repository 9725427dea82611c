package cuda

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// ColSum is out[c] = scale·Σ_r x[r,c].
func (b *Backend) ColSum(out, x *tensor.Tensor, scale float64, accumulate bool) {
	kernels.CheckColSum(out, x)
	mustDevice(x.DType())
	rows, cols := kernels.Matrix(x)
	if rows == 0 {
		if !accumulate {
			b.Fill(out, 0)
		}
		return
	}
	s := stripeRows(rows)
	stripes := (rows + s - 1) / s
	partial := b.scratch.floats(stripes * cols)
	name, per := form("col_sum", vec(cols, x), x)
	b.args.reset().ptr(partial).ptr(x).i32(rows, cols, s)
	b.columns("reduce", name, cols, stripes, per)
	b.colReduce(out, nil, partial, scale, accumulate, stripes, cols)
}

// LayerScaleBackward is the gradient of LayerScale and of the layer below it.
func (b *Backend) LayerScaleBackward(dw, db, dgamma, g, c, w, bias, gamma *tensor.Tensor) {
	kernels.CheckLayerScaleBackward(dw, db, dgamma, g, c, w, bias, gamma)
	mustDevice(w.DType())
	rows, cols := kernels.Matrix(w)
	b.args.reset().any(dw).any(db).any(dgamma).any(g).any(c).any(w).any(bias).any(gamma).i32(rows, cols)
	b.run("reduce", "layer_scale_backward", [3]int{rows, 1, 1}, [3]int{256, 1, 1}, 0)
}

// chunks splits n elements over at most 1,024 blocks; chunk is a multiple of 1,024.
func chunks(n int) (blocks, chunk int) {
	chunk = max(4096, ((n+1023)/1024+1023)&^1023)
	return (n + chunk - 1) / chunk, chunk
}

// Sum is out[0] = scale·Σ x.
func (b *Backend) Sum(out, x *tensor.Tensor, scale float64, accumulate bool) {
	kernels.CheckSum(out, x)
	mustDevice(x.DType())
	blocks, chunk := chunks(x.Len())
	partial := b.scratch.floats(max(blocks, 1))
	name, _ := form("sum", vec(x.Len(), x), x)
	b.args.reset().ptr(partial).ptr(x).i32(x.Len(), chunk)
	b.run("reduce", name, [3]int{blocks, 1, 1}, [3]int{256, 1, 1}, 0)
	b.args.reset().ptr(out).ptr(partial).f32(scale).bool(accumulate).i32(blocks)
	b.run("reduce", "reduce_all", [3]int{1, 1, 1}, [3]int{256, 1, 1}, 0)
}

// MSE is loss[0] = weight·Σ(a-b)²/n and da its gradient.
func (b *Backend) MSE(loss, da, x, y *tensor.Tensor, weight float64) {
	kernels.CheckMSE(loss, da, x, y)
	mustDevice(x.DType())
	n := x.Len()
	blocks, chunk := chunks(n)
	partial := b.scratch.floats(max(blocks, 1))
	name, _ := form("mse", vec(n, da, x, y), x)
	b.args.reset().ptr(partial).ptr(da).ptr(x).ptr(y).f32(2*weight/float64(n)).i32(n, chunk)
	b.run("reduce", name, [3]int{blocks, 1, 1}, [3]int{256, 1, 1}, 0)
	b.args.reset().ptr(loss).ptr(partial).f32(weight / float64(n)).bool(false).i32(blocks)
	b.run("reduce", "reduce_all", [3]int{1, 1, 1}, [3]int{256, 1, 1}, 0)
}

// Entropy is the entropy of x normalised to sum one.
func (b *Backend) Entropy(out, x *tensor.Tensor) {
	kernels.CheckEntropy(out, x)
	mustDevice(x.DType())
	blocks, chunk := chunks(x.Len())
	partial := b.scratch.floats(2 * max(blocks, 1))
	name, _ := form("entropy", vec(x.Len(), x), x)
	b.args.reset().ptr(partial).ptr(x).i32(x.Len(), chunk)
	b.run("reduce", name, [3]int{blocks, 1, 1}, [3]int{256, 1, 1}, 0)
	b.args.reset().ptr(out).ptr(partial).i32(blocks)
	b.run("reduce", "entropy_end", [3]int{1, 1, 1}, [3]int{256, 1, 1}, 0)
}

// ColMoments writes mean and biased variance of the columns.
func (b *Backend) ColMoments(mean, variance, x *tensor.Tensor) {
	kernels.CheckColMoments(mean, variance, x)
	mustDevice(x.DType())
	rows, cols := kernels.Matrix(x)
	if b.wide(cols, x, mean, variance) && rows > 0 {
		b.args.reset().ptr(mean).ptr(variance).ptr(x).i32(rows, cols)
		b.wideColumns(wideForm("col_moments", x), cols, accessLen(x))
		return
	}
	name, per := form("col_moments", vec(cols, x, mean, variance), x)
	b.args.reset().ptr(mean).ptr(variance).ptr(x).i32(rows, cols)
	threads := (cols + per - 1) / per
	b.run("reduce", name, [3]int{(threads + 127) / 128, 1, 1}, [3]int{128, 1, 1}, 0)
}

// NearestRows is index[i] = argmax over j != i of dots[i,j].
func (b *Backend) NearestRows(index, dots *tensor.Tensor) {
	kernels.CheckNearestRows(index, dots)
	mustDevice(dots.DType())
	n := index.Len()
	name, _ := form("nearest_rows", false, dots)
	b.args.reset().ptr(index).ptr(dots).i32(n)
	b.run("koleo", name, [3]int{n, 1, 1}, [3]int{32, 1, 1}, 0)
}

// KoLeo is the Kozachenko-Leonenko loss and its gradient.
func (b *Backend) KoLeo(loss, dx, x, index *tensor.Tensor, eps, minDist, weight float64) {
	kernels.CheckKoLeo(loss, dx, x, index)
	mustDevice(x.DType())
	n, d := kernels.Matrix(x)
	name, _ := form("koleo", false, x)
	b.args.reset().ptr(loss).ptr(dx).ptr(x).ptr(index).f32(eps, minDist, weight).i32(n, d)
	b.run("koleo", name, [3]int{n, 1, 1}, [3]int{256, 1, 1}, 0)
}
