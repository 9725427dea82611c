package cpu

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

// paramChunk is how many parameters are handled at a time: weights, gradient, moments and teacher stay in the
// first-level cache.
const paramChunk = 1024

// chunkTable is the device form of a kernels.ParamTable: which entry and which stretch each piece of work is.
type chunkTable struct {
	pieces []piece
}

type piece struct{ entry, lo, hi int }

// pieceSize is how many elements of one entry make one piece: large enough to keep the memory streams long.
const pieceSize = 16 * paramChunk

func table(p *kernels.ParamTable) *chunkTable {
	if t, ok := p.Device.(*chunkTable); ok {
		return t
	}
	t := &chunkTable{}
	for i := range p.Entries {
		n := p.Entries[i].Param.Len()
		for lo := 0; lo < n; lo += pieceSize {
			t.pieces = append(t.pieces, piece{i, lo, min(lo+pieceSize, n)})
		}
	}
	p.Device = t
	return t
}

type squaresOp struct {
	p     *kernels.ParamTable
	t     *chunkTable
	parts []float64
}

// GradSquares is out[g] = Σ of squares of the gradients of clip group g.
func (b *Backend) GradSquares(out *tensor.Tensor, p *kernels.ParamTable) {
	kernels.CheckGradSquares(out, p)
	b.mu.Lock()
	defer b.mu.Unlock()
	t := table(p)
	o := squaresOp{p, t, b.totals(len(t.pieces) + p.Groups)}
	b.ops.squares = o
	b.run(&b.ops.squares, len(t.pieces), 1)
	sums := o.parts[len(t.pieces):]
	clear(sums)
	for i, c := range t.pieces {
		sums[p.Entries[c.entry].Group] += o.parts[i]
	}
	for g, v := range sums {
		out.Set(g, v)
	}
}

func (o *squaresOp) do(w *worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		c := o.t.pieces[i]
		e := &o.p.Entries[c.entry]
		o.parts[i] = 0
		if e.Frozen || e.Skip || e.Grad == nil {
			continue
		}
		g := asVector(e.Grad)
		for k := c.lo; k < c.hi; k += paramChunk {
			o.parts[i] += float64(vec.SumSquares(g.part(w, 0, 0, k, min(k+paramChunk, c.hi)), 0))
		}
	}
}

// Guard clips where all squares and losses are finite, and marks the step as missed otherwise.
func (b *Backend) Guard(g kernels.Guard) {
	kernels.CheckGuard(g)
	missed := !allFinite(g.Squares) || g.Losses != nil && !allFinite(g.Losses)
	for i := range g.Scale.Len() {
		switch {
		case missed:
			g.Scale.Set(i, math.NaN())
		case g.MaxNorm == 0:
			g.Scale.Set(i, 1)
		default:
			g.Scale.Set(i, math.Min(1, g.MaxNorm/(math.Sqrt(g.Squares.At(i))+1e-6)))
		}
	}
	g.Missed.Set(0, 0)
	if missed {
		g.Missed.Set(0, 1)
	}
}

func allFinite(x *tensor.Tensor) bool {
	for i := range x.Len() {
		if v := x.At(i); math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}

// EMA is dst = momentum·dst + (1-momentum)·src, unless a scale is NaN.
func (b *Backend) EMA(dst, src, scale *tensor.Tensor, momentum float64) {
	kernels.CheckEMA(dst, src, scale)
	for _, v := range scale.F32() {
		if v != v {
			return
		}
	}
	vec.Lerp(dst.F32(), src.F32(), float32(momentum), float32(1-momentum))
}

type adamOp struct {
	p     *kernels.ParamTable
	t     *chunkTable
	scale []float32
	s     kernels.AdamWStep
}

// AdamW is the fused optimiser and teacher update.
func (b *Backend) AdamW(p *kernels.ParamTable, scale *tensor.Tensor, s kernels.AdamWStep) {
	kernels.CheckAdamW(p, scale, s)
	b.mu.Lock()
	defer b.mu.Unlock()
	o := adamOp{p, table(p), scale.F32(), s}
	for _, v := range o.scale {
		if v != v {
			return
		}
	}
	b.ops.adam = o
	b.run(&b.ops.adam, len(o.t.pieces), 1)
}

func (o *adamOp) do(w *worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		c := o.t.pieces[i]
		e := &o.p.Entries[c.entry]
		k := o.factors(e)
		g := asVector(e.Grad)
		p := e.Param.F32()
		for at := c.lo; at < c.hi; at += paramChunk {
			end := min(at+paramChunk, c.hi)
			var ema []float32
			if e.EMA != nil {
				ema = e.EMA.F32()[at:end]
			}
			switch {
			case !e.Frozen && !e.Skip:
				vec.AdamW(p[at:end], e.M.F32()[at:end], e.V.F32()[at:end], g.part(w, 0, 0, at, end), ema, &k)
				if e.Half != nil {
					vec.Narrow(e.Half.BF16()[at:end], p[at:end])
				}
			case ema != nil:
				vec.Lerp(ema, p[at:end], k.Momentum, k.OneMomentum)
			}
			if e.EMA16 != nil && ema != nil {
				vec.Narrow(e.EMA16.BF16()[at:end], ema)
			}
		}
	}
}

func (o *adamOp) factors(e *kernels.ParamEntry) vec.Adam {
	s := &o.s
	lr := s.LR * e.LRMul
	t := float64(s.Step)
	if s.Missed != nil {
		t -= s.Missed.At(0)
	}
	return vec.Adam{
		Scale: o.scale[e.Group], Decay: float32(lr * s.WD * e.WDMul),
		Beta1: float32(s.Beta1), OneBeta1: float32(1 - s.Beta1), Beta2: float32(s.Beta2), OneBeta2: float32(1 - s.Beta2),
		Rate: float32(lr / (1 - math.Pow(s.Beta1, t))), RootScale: float32(1 / math.Sqrt(1-math.Pow(s.Beta2, t))), Eps: float32(s.Eps),
		Momentum: float32(s.Momentum), OneMomentum: float32(1 - s.Momentum),
	}
}
