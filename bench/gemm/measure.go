package main

import (
	"time"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/gemm"
	"github.com/dino-mx/dmx/kernels/cpu/pool"
	"github.com/dino-mx/dmx/tensor"
)

// contestant multiplies matrices of its own.
type contestant interface {
	name() string
	// prepare makes operands for s and multiplies them once.
	prepare(s shape, threads int) error
	// time multiplies n times and returns how long that took.
	time(n int) (time.Duration, error)
	close()
}

// row is what the rounds so far have measured of one shape.
type row struct {
	shape
	threads int
	speeds  [][]float64 // 10⁹ operations a second, by contestant and round, ours first
	shares  []float64   // ours, of the peak measured in the same round
}

// speed is the median of contestant i.
func (r *row) speed(i int) float64 { return peer.Median(r.speeds[i]) }

func (r *row) share() float64 { return peer.Median(r.shares) }

const (
	// window is how long a contestant runs in one round, after as long untimed: on a virtual machine a processor that
	// slept takes milliseconds to come back.
	window = 30 * time.Millisecond
	// rest lets the threads of the one before fall asleep: OpenBLAS's look for work for 26 ms.
	rest = 40 * time.Millisecond
)

// heavy products take a second; they need no estimate, nor a warming up beside the product that prepare does.
const heavy = 2e10

// measure adds one round to a row.
func (r *row) measure(contestants []contestant) error {
	if r.speeds == nil {
		r.speeds = make([][]float64, len(contestants))
	}
	times := make([]int, len(contestants))
	for i, c := range contestants {
		if err := c.prepare(r.shape, r.threads); err != nil {
			return err
		}
		times[i] = 1
		if r.flops() > heavy {
			continue
		}
		d, err := c.time(1)
		if err != nil {
			return err
		}
		times[i] = max(1, int(window/d))
	}
	for i, c := range contestants {
		time.Sleep(rest)
		var peak float64
		if i == 0 {
			peak = gemm.PeakGFLOPS(r.threads)
		}
		if r.flops() <= heavy {
			if _, err := c.time(times[i]); err != nil {
				return err
			}
		}
		d, err := c.time(times[i])
		if err != nil {
			return err
		}
		g := r.flops() * float64(times[i]) / float64(d.Nanoseconds())
		r.speeds[i] = append(r.speeds[i], g)
		if i == 0 {
			r.shares = append(r.shares, g/max(peak, gemm.PeakGFLOPS(r.threads)))
		}
	}
	return nil
}

// distinct is how many random numbers an operand has before they repeat: drawing them all would take longer than
// the product.
const distinct = 1<<20 - 3

// ours is the engine's product.
type ours struct {
	pool *pool.Pool
	mul  *gemm.Multiplier
	g    kernels.Gemm
}

func newOurs() *ours {
	p := pool.New(1)
	return &ours{pool: p, mul: gemm.New(p)}
}

func (o *ours) name() string { return "dmx" }

func (o *ours) prepare(s shape, threads int) error {
	if o.pool.Threads() != threads {
		o.pool.SetThreads(threads)
	}
	r := tensor.NewRand(1, 0, 0, 0)
	operand := func(rows, cols int, trans bool) *tensor.Tensor {
		if trans {
			rows, cols = cols, rows
		}
		t := tensor.Zeros(tensor.F32, rows, cols)
		v := t.F32()
		for i := range v[:min(len(v), distinct)] {
			v[i] = float32(r.Uint32()>>8)/(1<<23) - 1
		}
		for i := distinct; i < len(v); i += distinct {
			copy(v[i:], v[:distinct])
		}
		return t
	}
	o.g = kernels.Gemm{M: s.m, N: s.n, K: s.k, TransA: s.transA, TransB: s.transB,
		A: operand(s.m, s.k, s.transA), B: operand(s.k, s.n, s.transB), Out: tensor.Zeros(tensor.F32, s.m, s.n)}
	o.mul.Run(&o.g)
	return nil
}

func (o *ours) time(n int) (time.Duration, error) {
	start := time.Now()
	for range n {
		o.mul.Run(&o.g)
	}
	return time.Since(start), nil
}

func (o *ours) close() { o.pool.Close() }
