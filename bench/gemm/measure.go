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
	// rest lets the threads of the one before fall asleep: OpenBLAS's look for work for 2^28 ticks of the processor's
	// clock.
	rest = 150 * time.Millisecond
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

// ours is the engine's product.
type ours struct {
	pool    *pool.Pool
	mul     *gemm.Multiplier
	g       kernels.Gemm
	a, b, c *tensor.Tensor // memory of the largest product so far, which the others lie in: to fill it takes longer than a product
}

// distinct is how many random numbers there are before they repeat.
const distinct = 1<<20 - 3

// matrix is the beginning of a memory of random numbers.
func matrix(memory **tensor.Tensor, rows, cols int) *tensor.Tensor {
	n := rows * cols
	if *memory == nil || (*memory).Len() < n {
		*memory = nil // for the collector
		t := tensor.Zeros(tensor.F32, n)
		v := t.F32()
		r := tensor.NewRand(1, 0, 0, 0)
		for i := range v[:min(n, distinct)] {
			v[i] = float32(r.Uint32()>>8)/(1<<23) - 1
		}
		for i := distinct; i < n; i += distinct {
			copy(v[i:], v[:distinct])
		}
		*memory = t
	}
	return (*memory).Rows(0, n).Reshape(rows, cols)
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
	operand := func(memory **tensor.Tensor, rows, cols int, trans bool) *tensor.Tensor {
		if trans {
			rows, cols = cols, rows
		}
		return matrix(memory, rows, cols)
	}
	o.g = kernels.Gemm{M: s.m, N: s.n, K: s.k, TransA: s.transA, TransB: s.transB,
		A: operand(&o.a, s.m, s.k, s.transA), B: operand(&o.b, s.k, s.n, s.transB), Out: matrix(&o.c, s.m, s.n)}
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
