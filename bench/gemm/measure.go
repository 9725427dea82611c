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

// result is one row: speeds in 10⁹ operations a second, one for each contestant, ours first.
type result struct {
	shape
	threads int
	speed   []float64
	peak    float64
	share   float64 // of the peak measured in the same round
}

const (
	// window is how long a contestant runs in one round, after as long untimed: on a virtual machine a processor that
	// slept takes milliseconds to come back.
	window = 30 * time.Millisecond
	// rest lets the threads of the one before fall asleep: OpenBLAS's look for work for 26 ms.
	rest = 40 * time.Millisecond
)

func measure(s shape, threads, rounds int, contestants []contestant) (result, error) {
	r := result{shape: s, threads: threads}
	times := make([]int, len(contestants))
	for i, c := range contestants {
		if err := c.prepare(s, threads); err != nil {
			return r, err
		}
		d, err := c.time(1)
		if err != nil {
			return r, err
		}
		times[i] = max(1, int(window/d))
	}
	if s.flops() > 2e10 {
		rounds = min(rounds, 3)
	}
	speeds := make([][]float64, len(contestants))
	var peaks, shares []float64
	for range rounds {
		for i, c := range contestants {
			time.Sleep(rest)
			var peak float64
			if i == 0 {
				peak = gemm.PeakGFLOPS(threads)
			}
			if _, err := c.time(times[i]); err != nil {
				return r, err
			}
			d, err := c.time(times[i])
			if err != nil {
				return r, err
			}
			g := s.flops() * float64(times[i]) / float64(d.Nanoseconds())
			speeds[i] = append(speeds[i], g)
			if i == 0 {
				peak = max(peak, gemm.PeakGFLOPS(threads))
				peaks, shares = append(peaks, peak), append(shares, g/peak)
			}
		}
	}
	for _, v := range speeds {
		r.speed = append(r.speed, peer.Median(v))
	}
	r.peak, r.share = peer.Median(peaks), peer.Median(shares)
	return r, nil
}

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
		for i, v := 0, t.F32(); i < len(v); i++ {
			v[i] = float32(r.Uint32()>>8)/(1<<23) - 1
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
