package ptx_test

import (
	"fmt"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// bench is an emulated device whose counters are read after one operation.
type bench struct {
	t *testing.T
	d *ptx.Driver
	b *cuda.Backend
}

func newBench(t *testing.T) *bench {
	d := ptx.NewDriver(1<<30, 1)
	return &bench{t, d, cuda.New(d, cuda.Versions{})}
}

// random is a device tensor of N(0,1).
func (x *bench) random(dtype tensor.DType, shape ...int) *tensor.Tensor {
	host := tensor.Zeros(dtype, shape...)
	r := tensor.NewRand(7, uint32(len(shape)), uint32(host.Len()), 1<<24)
	for i := range host.Len() {
		host.Set(i, r.Norm())
	}
	return x.upload(host)
}

func (x *bench) upload(host *tensor.Tensor) *tensor.Tensor {
	d, err := tensor.New(x.b.Allocator(), host.DType(), host.Shape()...)
	if err != nil {
		x.t.Fatal(err)
	}
	x.b.Upload(d, host)
	return d
}

func (x *bench) indices(v ...int32) *tensor.Tensor { return x.upload(tensor.FromI32(v, len(v))) }

// counts runs f and returns the counters of the kernels it launched.
func (x *bench) counts(f func()) map[string]*ptx.Counters {
	clear(x.d.Machine.Counters)
	f()
	if err := x.b.Sync(); err != nil {
		x.t.Fatal(err)
	}
	return x.d.Machine.Counters
}

// The matrix kernels read shared memory without a bank conflict and memory in whole sectors.
func TestMatrixKernelsCountedAccesses(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, counts map[string]*ptx.Counters) {
		mma := int64(0)
		for name, c := range counts {
			if c.Executed("mma") == 0 {
				continue
			}
			mma += c.Executed("mma")
			if n := c.BankConflicts(); n != 0 {
				t.Errorf("%s: %d shared memory bank conflicts", name, n)
			}
			if used, ideal := c.Sectors(); float64(used) > 1.1*float64(ideal) {
				t.Errorf("%s: %d sectors of global memory for what fits in %d", name, used, ideal)
			}
		}
		if mma == 0 {
			t.Error("no kernel used the tensor cores")
		}
	}
	for _, trans := range []struct{ a, b bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		t.Run(fmt.Sprintf("gemm/trans %v %v", trans.a, trans.b), func(t *testing.T) {
			x := newBench(t)
			a, b := x.random(tensor.BF16, 256, 256), x.random(tensor.BF16, 256, 256)
			bias := x.random(tensor.F32, 256)
			out := x.random(tensor.BF16, 256, 256)
			check(t, x.counts(func() {
				x.b.Gemm(kernels.Gemm{M: 256, N: 256, K: 256, Out: out, A: a, B: b, TransA: trans.a, TransB: trans.b, Bias: bias, Act: kernels.GELU})
			}))
		})
	}
	for _, d := range []int{32, 64, 96, 128} {
		t.Run(fmt.Sprintf("attention/d %d", d), func(t *testing.T) {
			x := newBench(t)
			starts := []int32{0, 128, 192}
			seqs := kernels.Sequences{Starts: x.indices(starts...), Host: starts, MaxLen: 128}
			a := kernels.Attention{Out: x.random(tensor.BF16, 192, 2*d), LSE: x.random(tensor.F32, 2, 192), QKV: x.random(tensor.BF16, 192, 6*d), Seqs: seqs, Heads: 2, Scale: 0.125}
			check(t, x.counts(func() {
				x.b.Attention(a)
				x.b.AttentionBackward(kernels.AttentionGrad{Attention: a, DOut: x.random(tensor.BF16, 192, 2*d), DQKV: x.random(tensor.BF16, 192, 6*d), Delta: x.random(tensor.F32, 2, 192)})
			}))
		})
	}
}
