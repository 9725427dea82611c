package cuda

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Patchify cuts images into rows of patches.
func (b *Backend) Patchify(out, images *tensor.Tensor, p int) {
	kernels.CheckPatchify(out, images, p)
	mustDevice(out.DType())
	if b.patchifyStrips(out, images, p) {
		return
	}
	name, _ := form("patchify", false, out, images)
	b.args.reset().ptr(out).ptr(images).i32(images.Dim(1), images.Dim(2), images.Dim(3), p, out.Len())
	b.each("gather", name, out.Len(), 1)
}

// GatherRows is out[i] = table[index[i]].
func (b *Backend) GatherRows(out, table, index *tensor.Tensor, accumulate bool) {
	kernels.CheckGatherRows(out, table, index)
	mustDevice(out.DType())
	rows, cols := kernels.Matrix(out)
	name, _ := form("gather", vec(cols, out, table), out, table)
	b.args.reset().ptr(out).ptr(table).ptr(index).bool(accumulate).i32(rows, cols)
	b.rows("gather", name, rows, cols)
}

// ScatterRows is the gradient of GatherRows.
func (b *Backend) ScatterRows(dtable, dout, starts, rows *tensor.Tensor, accumulate bool) {
	kernels.CheckScatterRows(dtable, dout, starts, rows)
	mustDevice(dout.DType())
	n, cols := kernels.Matrix(dtable)
	name, _ := form("scatter", vec(cols, dtable, dout), dout, dtable)
	b.args.reset().ptr(dtable).ptr(dout).ptr(starts).ptr(rows).bool(accumulate).i32(n, cols)
	b.rows("gather", name, n, cols)
}

// RoPE rotates q and k in place.
func (b *Backend) RoPE(qkv, cos, sin, index *tensor.Tensor, heads int, inverse bool) {
	kernels.CheckRoPE(qkv, cos, sin, index, heads)
	mustDevice(qkv.DType())
	rows, cols := kernels.Matrix(qkv)
	half := cols / (6 * heads)
	sign := 1.0
	if inverse {
		sign = -1
	}
	// A lane of the wide form keeps the cosines of its channels, which it then meets in every head.
	if access := accessLen(qkv); b.wide(half, qkv, cos, sin) && half <= 32*access && 32%(half/access) == 0 {
		b.args.reset().ptr(qkv).ptr(cos).ptr(sin).ptr(index).f32(sign).i32(heads, half, rows)
		b.run("wide", wideForm("rope", qkv), [3]int{(rows + 7) / 8, 1, 1}, [3]int{32, 8, 1}, 0)
		return
	}
	name, _ := form("rope", false, qkv)
	n := rows * 2 * heads * half
	b.args.reset().ptr(qkv).ptr(cos).ptr(sin).ptr(index).f32(sign).i32(heads, half, n)
	b.each("gather", name, n, 1)
}
