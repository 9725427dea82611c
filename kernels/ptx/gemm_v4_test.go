package ptx_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// v4Epilogues are a product with each kind of epilogue of version 4.
var v4Epilogues = []struct {
	name string
	kind cuda.EpilogueKind
	add  func(x *bench, g *kernels.Gemm)
}{
	{"bare", cuda.BareEpilogue, func(*bench, *kernels.Gemm) {}},
	{"plain", cuda.PlainEpilogue, func(x *bench, g *kernels.Gemm) { g.Bias = x.random(tensor.F32, g.N) }},
	{"linear", cuda.LinearEpilogue, func(x *bench, g *kernels.Gemm) {
		g.Bias, g.Gamma, g.Residual = x.random(tensor.F32, g.N), x.random(tensor.F32, g.N), x.random(tensor.BF16, g.M, g.N)
	}},
	{"gelu", cuda.GELUEpilogue, func(x *bench, g *kernels.Gemm) {
		g.Bias, g.Pre, g.Act = x.random(tensor.F32, g.N), x.random(tensor.BF16, g.M, g.N), kernels.GELU
	}},
	{"gelu gradient", cuda.GELUGradEpilogue, func(x *bench, g *kernels.Gemm) {
		g.GradOf, g.ActGrad = x.random(tensor.BF16, g.M, g.N), kernels.GELU
	}},
	{"any", cuda.AnyEpilogue, func(x *bench, g *kernels.Gemm) {
		g.GradOf, g.ActGrad = x.random(tensor.BF16, g.M, g.N), kernels.SiLU
	}},
}

// v4Tiles are shapes of one tile for which version 4 takes each of its kernels on one multiprocessor.
var v4Tiles = map[string]struct{ n, k int }{
	"gemm_v4_256": {256, 320},
	"gemm_v4_192": {192, 64},
	"gemm_v4_128": {128, 128},
}

// countV4 runs a product of version 4 on one multiprocessor and returns the kernel and its counters.
func countV4(t *testing.T, m, n, k int, transA, transB bool, add func(*bench, *kernels.Gemm)) (string, *ptx.Counters) {
	t.Helper()
	d := ptx.NewHopperDriver(1<<30, 1)
	x := &bench{t, d, cuda.New(hopper{d, 1}, cuda.Versions{Gemm: 4})}
	g := kernels.Gemm{M: m, N: n, K: k, TransA: transA, TransB: transB, Out: x.random(tensor.BF16, m, n)}
	g.A, g.B = x.random(tensor.BF16, m, k), x.random(tensor.BF16, k, n)
	if transA {
		g.A = x.random(tensor.BF16, k, m)
	}
	if transB {
		g.B = x.random(tensor.BF16, n, k)
	}
	if add != nil {
		add(x, &g)
	}
	for name, c := range x.counts(func() { x.b.Gemm(g) }) {
		return name, c
	}
	t.Fatal("nothing was launched")
	return "", nil
}

// Version 4 finishes its tiles without a bank conflict, asks for whole sectors, and moves outputs and what the
// epilogue reads through the copy engine alone.
func TestGemmV4CountedAccesses(t *testing.T) {
	for _, e := range v4Epilogues {
		for i, trans := range []struct{ a, b bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
			t.Run(fmt.Sprintf("%s/trans %v %v", e.name, trans.a, trans.b), func(t *testing.T) {
				name, c := countV4(t, 112, 176+16*i, 144, trans.a, trans.b, e.add)
				if !strings.HasPrefix(name, "gemm_v4") {
					t.Fatalf("%s was chosen", name)
				}
				if n := c.BankConflicts(); n != 0 {
					t.Errorf("%d shared memory bank conflicts", n)
				}
				if used, ideal := c.Sectors(); float64(used) > 1.1*float64(ideal) {
					t.Errorf("%d sectors of global memory for what fits in %d", used, ideal)
				}
				if c.Executed("wgmma.mma_async") == 0 || c.Executed("stmatrix") == 0 || c.Executed("st.global") != 0 {
					t.Errorf("%d products of a warpgroup, %d stmatrix, %d ordinary stores",
						c.Executed("wgmma.mma_async"), c.Executed("stmatrix"), c.Executed("st.global"))
				}
			})
		}
	}
}

// The instructions per piece that the model of the plan counts with are those of the kernels that ship.
func TestGemmV4Instructions(t *testing.T) {
	count := func(m, n, k int, add func(*bench, *kernels.Gemm)) (string, float64) {
		name, c := countV4(t, m, n, k, false, true, add)
		total := int64(0)
		for _, i := range c.PerInstr {
			if !strings.Contains(i.Text, "try_wait") { // how often a wait is tried is up to the schedule
				total += i.Execs
			}
		}
		return name, float64(total)
	}
	for _, e := range v4Epilogues {
		// In 192 columns all kinds but the last have their own kernel of three pieces across, or two in 128.
		n, pieces := 192, 6.0
		if e.kind == cuda.AnyEpilogue {
			n, pieces = 128, 4
		}
		const warps = 4 // that finish a tile
		two, a := count(2*128, n, 128, e.add)
		four, b := count(4*128, n, 128, e.add)
		long, c := count(4*128, n, 256, e.add)
		if two != four || four != long {
			t.Fatalf("%s: kernels %s, %s and %s", e.name, two, four, long)
		}
		step := (c - b) / (4 * 2)
		got := ((b-a)/2 - 2*step) / warps / pieces
		want := cuda.InstructionsV4(e.kind)
		t.Logf("%s (%s): %.0f instructions a piece", e.name, two, got)
		if math.Abs(got/want-1) > 0.1 {
			t.Errorf("%s (%s): %.0f instructions a piece, the model has %.0f", e.name, two, got, want)
		}
	}
}

// Each kernel is the one chosen for its shape.
func TestGemmV4Tiles(t *testing.T) {
	for want, s := range v4Tiles {
		add := v4Epilogues[1].add
		if want == "gemm_v4_192" {
			add = v4Epilogues[3].add
		}
		if got, _ := countV4(t, 112, s.n, s.k, false, true, add); got != want {
			t.Errorf("%s was chosen for 112 x %d x %d, want %s", got, s.n, s.k, want)
		}
	}
}
