package cuda

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// The launches of wide.cu: version 2 of the kernels that move bytes.

// accessLen is the number of elements of one access of 16 bytes.
func accessLen(t *tensor.Tensor) int { return 16 / t.DType().Size() }

// wideForm is the name of a wide kernel for the type of x.
func wideForm(name string, x *tensor.Tensor) string { return name + "_" + x.DType().String() + "w" }

// wide reports whether the wide form of a kernel may work on rows of cols elements: they must be whole accesses in the
// type of every operand, and all operands must lie on 16 bytes. Operands may be nil.
func (b *Backend) wide(cols int, ts ...*tensor.Tensor) bool {
	if b.versions.Movers == 1 {
		return false
	}
	for _, t := range ts {
		if t != nil && (cols%accessLen(t) != 0 || t.Addr()%16 != 0) {
			return false
		}
	}
	return true
}

// patchifyStrips launches the form of Patchify that turns strips of patches in shared memory, if it may: pixels are read in
// pairs, so the patch and the image must be an even number of pixels wide.
func (b *Backend) patchifyStrips(out, images *tensor.Tensor, p int) bool {
	c, h, w := images.Dim(1), images.Dim(2), images.Dim(3)
	if b.versions.Movers == 1 || out.DType() != tensor.BF16 || p%2 != 0 || w%2 != 0 || images.Addr()%8 != 0 || out.Addr()%4 != 0 {
		return false
	}
	const shared = 40 << 10 // bytes; several blocks share a multiprocessor
	words := c * p * p / 2
	// Neighbouring pairs of pixels of a strip go to neighbouring banks, across the ends of patches too.
	pad := ((p/2-words)%32 + 32) % 32
	across := min(w/p, shared/(4*(words+pad)))
	rows := images.Dim(0) * (h / p)
	if across == 0 || rows > maxGridY {
		return false
	}
	b.args.reset().ptr(out).ptr(images).i32(c, h, w, p, across, pad)
	b.run("wide", "patchify_bf16_"+images.DType().String()+"w", [3]int{(w/p + across - 1) / across, rows, 1}, [3]int{32, 8, 1}, across*(words+pad)*4)
	return true
}

// maxGridY is the largest y dimension of a grid (CUDA C++ Programming Guide, technical specifications).
const maxGridY = 65535

// crossEntropyStripes launches the form of CrossEntropy in which a warp goes once over a stripe of columns of its student
// row. There are about 4,096 warps, enough to fill a device, and at least four accesses in each lane.
func (b *Backend) crossEntropyStripes(c kernels.CrossEntropy, rows, cols int) {
	const row = 32 * 4 * 2 // student logits that a warp has in flight
	stripes := max(1, min((4096+rows-1)/max(rows, 1), cols/(4*row)))
	stripe := ((cols+stripes-1)/stripes + row - 1) / row * row
	stripes = (cols + stripe - 1) / stripe
	pairs := c.Rows.Len()
	partial := b.scratch.floats(max(1, stripes*pairs))
	b.args.reset().ptr(partial).ptr(c.DS).ptr(c.S).ptr(c.SLSE).ptr(c.T).ptr(c.TLSE).ptr(c.Centre).f32(c.SInvTemp, c.TInvTemp).
		ptr(c.Starts).ptr(c.Rows).ptr(c.Weights).i32(rows, cols, stripe, pairs)
	b.run("wide", wideForm("cross_entropy", c.S), [3]int{(rows + 7) / 8, stripes, 1}, [3]int{32, 8, 1}, 0)
	b.colReduce(c.Loss, nil, partial, 1, false, stripes, pairs)
}

// wideColumns launches a kernel whose blocks reduce all rows of 32 accesses of columns, per columns each.
func (b *Backend) wideColumns(name string, cols, per int) {
	b.run("wide", name, [3]int{(cols + 32*per - 1) / (32 * per), 1, 1}, [3]int{32, 8, 1}, 0)
}
