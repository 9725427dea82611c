package ptx_test

import (
	"fmt"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// hopper is an emulated device of compute capability 9.0 with few multiprocessors, so that the persistent blocks of
// GEMM version 3 work on several tiles each and the choice among its kernels falls differently.
type hopper struct {
	gpu.Driver
	sms int
}

func (d hopper) Info() gpu.Info {
	i := d.Driver.Info()
	i.SMs = d.sms
	return i
}

// gemmV3 names a product for which each kernel of version 3 is chosen on one multiprocessor: more steps than the ring
// has stages, no size a multiple of its tile, rows of whole sectors.
var gemmV3 = map[string]struct{ m, n, k int }{
	"gemm_v3_256": {112, 240, 272},
	"gemm_v3_128": {112, 368, 432},
}

// Version 3 finishes its tiles without a bank conflict and in whole sectors; the copy engine brings the operands.
func TestGemmV3CountedAccesses(t *testing.T) {
	t.Parallel()
	for name, s := range gemmV3 {
		for _, trans := range []struct{ a, b bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
			t.Run(fmt.Sprintf("%s/trans %v %v", name, trans.a, trans.b), func(t *testing.T) {
				d := ptx.NewHopperDriver(1<<30, 1)
				x := &bench{t, d, cuda.New(hopper{d, 1}, cuda.Versions{Gemm: 3})}
				a, b := x.random(tensor.BF16, s.m, s.k), x.random(tensor.BF16, s.k, s.n)
				if trans.a {
					a = x.random(tensor.BF16, s.k, s.m)
				}
				if trans.b {
					b = x.random(tensor.BF16, s.n, s.k)
				}
				bias, out, residual := x.random(tensor.F32, s.n), x.random(tensor.BF16, s.m, s.n), x.random(tensor.BF16, s.m, s.n)
				c := x.counts(func() {
					x.b.Gemm(kernels.Gemm{M: s.m, N: s.n, K: s.k, Out: out, A: a, B: b, TransA: trans.a, TransB: trans.b, Bias: bias, Act: kernels.GELU, Residual: residual})
				})[name]
				if c == nil {
					t.Fatalf("%s was not chosen", name)
				}
				if n := c.BankConflicts(); n != 0 {
					t.Errorf("%d shared memory bank conflicts", n)
				}
				if used, ideal := c.Sectors(); float64(used) > 1.1*float64(ideal) {
					t.Errorf("%d sectors of global memory for what fits in %d", used, ideal)
				}
				if c.Executed("wgmma.mma_async") == 0 || c.Executed("mma") != 0 {
					t.Error("the products are not those of a warpgroup")
				}
			})
		}
	}
}
