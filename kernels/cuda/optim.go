package cuda

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// chunkLen is CHUNK in optim.cu.
const chunkLen = 16384

// deviceTable is the device form of a ParamTable: entries and chunks as optim.cu declares them.
type deviceTable struct {
	entries, chunks *tensor.Buffer
	count           int
}

// table builds or finds the device form. A changed table (Device nil) reuses the memory of its old form.
func (b *Backend) table(p *kernels.ParamTable) *deviceTable {
	if t, ok := p.Device.(*deviceTable); ok {
		return t
	}
	var entries, chunks args
	count := 0
	for i := range p.Entries {
		e := &p.Entries[i]
		flags := 0
		if e.Frozen || e.Skip {
			flags = 1
		}
		entries.ptr(e.Param).ptr(e.M).ptr(e.V).ptr(e.EMA).any(e.Grad).ptr(e.Half).ptr(e.EMA16).
			f32(e.LRMul, e.WDMul).i32(e.Group, flags, e.Param.Len(), 0)
		for lo := 0; lo < e.Param.Len(); lo += chunkLen {
			chunks.i32(i, lo)
			count++
		}
	}
	t := b.tables[p]
	if t == nil {
		t = &deviceTable{}
		b.tables[p] = t
	}
	t.entries = b.resident(t.entries, entries.buf)
	t.chunks = b.resident(t.chunks, chunks.buf)
	t.count = count
	p.Device = t
	return t
}

// resident uploads bytes to a device buffer of exactly that size, reusing old where it fits.
func (b *Backend) resident(old *tensor.Buffer, data []byte) *tensor.Buffer {
	if old == nil || old.Size != len(data) {
		old = b.replace(old, len(data))
	}
	if len(data) > 0 {
		b.queue.CopyIn(old.Addr, data)
	}
	return old
}

// GradSquares is out[g] = Σ of squares of the gradients of clip group g.
func (b *Backend) GradSquares(out *tensor.Tensor, p *kernels.ParamTable) {
	kernels.CheckGradSquares(out, p)
	mustDevice(out.DType())
	t := b.table(p)
	partial := b.scratch.floats(max(t.count, 1))
	b.args.reset().ptr(partial).u64(t.entries.Addr).u64(t.chunks.Addr)
	name := "grad_squares"
	if b.versions.Movers != 1 {
		name = "grad_squares_w"
	}
	b.run("optim", name, [3]int{t.count, 1, 1}, [3]int{256, 1, 1}, 0)
	b.args.reset().ptr(out).ptr(partial).u64(t.entries.Addr).u64(t.chunks.Addr).i32(t.count)
	b.run("optim", "group_squares", [3]int{p.Groups, 1, 1}, [3]int{256, 1, 1}, 0)
}

// Guard clips where all squares and losses are finite, and marks the step as missed otherwise.
func (b *Backend) Guard(g kernels.Guard) {
	kernels.CheckGuard(g)
	mustDevice(g.Squares.DType())
	losses := 0
	if g.Losses != nil {
		losses = g.Losses.Len()
	}
	b.args.reset().ptr(g.Scale).ptr(g.Missed).ptr(g.Squares).ptr(g.Losses).f32(g.MaxNorm).i32(g.Scale.Len(), losses)
	b.run("optim", "guard", [3]int{1, 1, 1}, [3]int{256, 1, 1}, 0)
}

// AdamW is the fused optimiser and teacher update.
func (b *Backend) AdamW(p *kernels.ParamTable, scale *tensor.Tensor, s kernels.AdamWStep) {
	kernels.CheckAdamW(p, scale, s)
	t := b.table(p)
	bias := func(beta float64) float64 { return 1 / (1 - math.Pow(beta, float64(s.Step))) }
	b.args.reset().u64(t.entries.Addr).u64(t.chunks.Addr).ptr(scale).ptr(s.Missed).f32(s.LR, s.WD, s.Beta1, 1-s.Beta1, s.Beta2, 1-s.Beta2, s.Eps).
		f32(bias(s.Beta1), bias(s.Beta2), s.Momentum, 1-s.Momentum).i32(p.Groups, s.Step)
	b.run("optim", "adamw", [3]int{t.count, 1, 1}, [3]int{256, 1, 1}, 0)
}

// EMA is dst = momentum·dst + (1-momentum)·src, unless a scale is NaN.
func (b *Backend) EMA(dst, src, scale *tensor.Tensor, momentum float64) {
	kernels.CheckEMA(dst, src, scale)
	mustDevice(dst.DType())
	n := dst.Len()
	b.args.reset().ptr(dst).ptr(src).ptr(scale).f32(momentum, 1-momentum).i32(n, scale.Len())
	b.run("optim", "ema", [3]int{(n + 1023) / 1024, 1, 1}, [3]int{256, 1, 1}, 0)
}
