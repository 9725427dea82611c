package ref

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// GradSquares is out[g] = Σ grad² over the entries of clip group g that take part in the step.
func (b *Backend) GradSquares(out *tensor.Tensor, p *kernels.ParamTable) {
	kernels.CheckGradSquares(out, p)
	b.begin()
	sums := b.zeros(p.Groups)
	for i := range p.Entries {
		e := &p.Entries[i]
		if e.Frozen || e.Skip {
			continue
		}
		g := b.load(e.Grad)
		sums[e.Group] += dot(g, g)
		b.used = 1 // keep sums only
	}
	store(out, 0, sums)
}

// Guard clips where all squares and losses are finite, and marks the step as missed otherwise.
func (b *Backend) Guard(g kernels.Guard) {
	kernels.CheckGuard(g)
	b.begin()
	sq, out := b.load(g.Squares), b.take(g.Squares.Len())
	var losses []float64
	if g.Losses != nil {
		losses = b.load(g.Losses)
	}
	missed := 0.0
	for _, list := range [][]float64{sq, losses} {
		for _, v := range list {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				missed = 1
			}
		}
	}
	for i, v := range sq {
		switch {
		case missed > 0:
			out[i] = math.NaN()
		case g.MaxNorm > 0:
			out[i] = math.Min(1, g.MaxNorm/(math.Sqrt(v)+1e-6))
		default:
			out[i] = 1
		}
	}
	store(g.Scale, 0, out)
	store(g.Missed, 0, []float64{missed})
}

// EMA is dst = momentum·dst + (1-momentum)·src, unless a scale is NaN.
func (b *Backend) EMA(dst, src, scale *tensor.Tensor, momentum float64) {
	kernels.CheckEMA(dst, src, scale)
	b.begin()
	for _, v := range b.load(scale) {
		if math.IsNaN(v) {
			return
		}
	}
	x, out := b.load(src), b.take(dst.Len())
	fetch(out, dst, 0)
	for i := range out {
		out[i] = momentum*out[i] + (1-momentum)*x[i]
	}
	store(dst, 0, out)
}

// AdamW follows the formulas of kernels.AdamWStep entry by entry.
func (b *Backend) AdamW(p *kernels.ParamTable, scale *tensor.Tensor, s kernels.AdamWStep) {
	kernels.CheckAdamW(p, scale, s)
	b.begin()
	scales := b.load(scale)
	for _, v := range scales {
		if math.IsNaN(v) {
			return
		}
	}
	keep := b.used
	for i := range p.Entries {
		e := &p.Entries[i]
		if !e.Frozen && !e.Skip {
			b.used = keep
			b.adamW(e, scales[e.Group], s)
		}
		if e.EMA != nil {
			b.used = keep
			b.follow(e, s.Momentum)
		}
	}
}

func (b *Backend) adamW(e *kernels.ParamEntry, scale float64, s kernels.AdamWStep) {
	n := e.Param.Len()
	grad, p, m, v := b.load(e.Grad), b.take(n), b.take(n), b.take(n)
	fetch(p, e.Param, 0)
	fetch(m, e.M, 0)
	fetch(v, e.V, 0)
	lr, wd := s.LR*e.LRMul, s.WD*e.WDMul
	done := float64(s.Step)
	if s.Missed != nil {
		done -= s.Missed.At(0)
	}
	fix1 := 1 - math.Pow(s.Beta1, done)
	fix2 := 1 - math.Pow(s.Beta2, done)
	for i := range n {
		g := scale * grad[i]
		p[i] -= lr * wd * p[i]
		m[i] = s.Beta1*m[i] + (1-s.Beta1)*g
		v[i] = s.Beta2*v[i] + (1-s.Beta2)*g*g
		p[i] -= lr * (m[i] / fix1) / (math.Sqrt(v[i]/fix2) + s.Eps)
	}
	store(e.Param, 0, p)
	store(e.M, 0, m)
	store(e.V, 0, v)
	if e.Half != nil {
		store(e.Half, 0, b.load(e.Param)) // the rounding of what was stored, not of p
	}
}

// follow is the teacher's ema = momentum·ema + (1-momentum)·p.
func (b *Backend) follow(e *kernels.ParamEntry, momentum float64) {
	p, ema := b.load(e.Param), b.take(e.Param.Len())
	fetch(ema, e.EMA, 0)
	for i := range ema {
		ema[i] = momentum*ema[i] + (1-momentum)*p[i]
	}
	store(e.EMA, 0, ema)
	if e.EMA16 != nil {
		store(e.EMA16, 0, b.load(e.EMA))
	}
}
