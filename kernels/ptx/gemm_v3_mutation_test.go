package ptx_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// brokenAlone loads one kernel of a module alone, with a fault in it.
type brokenAlone struct{ *broken }

func (d brokenAlone) Load(name, src string) (gpu.Module, error) {
	if name == d.m.file {
		header, begin := strings.Index(src, ".visible .entry"), strings.Index(src, ".visible .entry "+d.m.kernel+"(")
		src = src[:header] + src[begin:begin+strings.Index(src[begin:], "-- End function")] + "-- End function\n}\n"
	}
	return d.broken.Load(name, src)
}

// gemmV3Scenario runs one kernel of version 3 on one layout: three tiles that the consumers take turns at, or one that
// they share, and more steps than the ring has stages.
func gemmV3Scenario(d gpu.Driver, kernel, layout string) ([]byte, error) {
	s := &scene{b: cuda.New(hopper{d, 1}, cuda.Versions{Gemm: 3})}
	m, n, k := 104, 264, 440
	if kernel == "gemm_v3_256" {
		n, k = 248, 320
	}
	g := kernels.Gemm{M: m, N: n, K: k, TransA: layout[0] == 't', TransB: layout[1] == 't', Bias: s.random(tensor.F32, n), Out: s.out(tensor.BF16, m, n)}
	g.A, g.B = s.random(tensor.BF16, m, k), s.random(tensor.BF16, k, n)
	if g.TransA {
		g.A = s.random(tensor.BF16, k, m)
	}
	if g.TransB {
		g.B = s.random(tensor.BF16, n, k)
	}
	s.b.Gemm(g)
	return s.result()
}

const (
	waitFull = `mbarrier\.try_wait\.parity\.shared::cta\.b64 p, \[(%r\d+)\], (%r\d+);`
	giveBack = `mbarrier\.arrive\.shared::cta\.b64 _, \[%r\d+\];`
	boxAt    = `\[(%rd\d+), \{(%r\d+), (%r\d+)\}\]`
	// Matrix descriptors without their address: k contiguous, and k outermost.
	kInner = `4611686293305360384`
	kOuter = `4611686293338849280`
)

// Faults of the copies, barriers and products of version 3. In both kernels the layouts follow one another as TT, NT, TN,
// NN, each with its first step and its loop, in the second kernel after the wait for its turn; the producer comes last.
var gemmV3Mutants = []mutant{
	{"producer does not wait for an empty stage", "gemm_sm90", "gemm_v3_128", waitFull, 13, "setp.eq.s32 p, 0, 0;", "nt"},
	{"producer waits for the other parity", "gemm_sm90", "gemm_v3_128", waitFull, 13, "mbarrier.try_wait.parity.shared::cta.b64 p, [$1], 0;", "nt"},
	{"producer's parity does not change", "gemm_sm90", "gemm_v3_256", waitFull, 9, "mbarrier.try_wait.parity.shared::cta.b64 p, [$1], 1;", "nt"},
	{"first step is not waited for", "gemm_sm90", "gemm_v3_128", waitFull, 5, "setp.eq.s32 p, 0, 0;", "nt"},
	{"a step of the loop is not waited for", "gemm_sm90", "gemm_v3_256", waitFull, 4, "setp.eq.s32 p, 0, 0;", "nt"},
	{"consumer's parity does not change", "gemm_sm90", "gemm_v3_128", waitFull, 6, "mbarrier.try_wait.parity.shared::cta.b64 p, [$1], 0;", "nt"},
	{"initialised barriers are not shown to the copy engine", "gemm_sm90", "gemm_v3_128", `fence\.mbarrier_init\.release\.cluster;\s+// end inline asm\s+// begin inline asm\s+fence\.proxy\.async\.shared::cta;`, 1, "", "nt"},
	{"barriers used before the block is together", "gemm_sm90", "gemm_v3_128", `bar\.sync\s+0;`, 1, "", "nt"},
	{"16 bytes too few are expected", "gemm_sm90", "gemm_v3_128", `mov\.b32\s+(%r\d+), 32768;(\s+// begin inline asm\s+mbarrier\.arrive\.expect_tx)`, 1, "mov.b32 $1, 32752;$2", "nt"},
	{"16 bytes too many are expected", "gemm_sm90", "gemm_v3_256", `mov\.b32\s+(%r\d+), 49152;(\s+// begin inline asm\s+mbarrier\.arrive\.expect_tx)`, 1, "mov.b32 $1, 49168;$2", "nt"},
	{"a quarter of the readers give a stage back", "gemm_sm90", "gemm_v3_256", `mov\.b32\s+(%r\d+), 8;`, 1, "mov.b32 $1, 2;", "nt"},
	{"a stage is not given back", "gemm_sm90", "gemm_v3_128", giveBack, 4, "", "nt"},
	{"the last stage is not given back", "gemm_sm90", "gemm_v3_128", giveBack, 3, "", "tt"},
	{"a stage is given back a step too early", "gemm_sm90", "gemm_v3_128", `wait_group\.sync\.aligned 1;`, 2, "wait_group.sync.aligned 2;", "nt"},
	{"a consumer does not wait for its turn", "gemm_sm90", "gemm_v3_128", waitFull, 4, "setp.eq.s32 p, 0, 0;", "nt"},
	{"the turn is not handed on", "gemm_sm90", "gemm_v3_128", giveBack, 2, "", "tt"},
	{"ring of the producer one stage too long", "gemm_sm90", "gemm_v3_128", `setp\.eq\.s32(\s+%p\d+, %r\d+,) 6;`, 5, "setp.eq.s32$1 7;", "nt"},
	{"ring of a consumer one stage too short", "gemm_sm90", "gemm_v3_128", `setp\.eq\.s32(\s+%p\d+, %r\d+,) 6;`, 2, "setp.eq.s32$1 5;", "nt"},
	{"no fence before the first product", "gemm_sm90", "gemm_v3_128", `wgmma\.fence\.sync\.aligned;`, 3, "", "nt"},
	{"products not committed", "gemm_sm90", "gemm_v3_256", `wgmma\.commit_group\.sync\.aligned;`, 4, "", "nt"},
	{"accumulators read before the products are done", "gemm_sm90", "gemm_v3_256", `wgmma\.wait_group\.sync\.aligned 0;`, 1, "", "tt"},
	{"accumulators not overwritten by the first product", "gemm_sm90", "gemm_v3_128", `setp\.ne\.s32 p, %r\d+, 0;`, 17, "setp.ne.s32 p, 1, 0;", "nt"},
	{"accumulators overwritten by a later product", "gemm_sm90", "gemm_v3_128", `setp\.ne\.s32 p, %r\d+, 0;`, 27, "setp.ne.s32 p, 0, 0;", "nt"},
	{"descriptor: half the stride between rows of pieces", "gemm_sm90", "gemm_v3_256", kInner, 3, "4611686155866406912", "tt"},
	{"descriptor: half the distance between blocks of 64 columns", "gemm_sm90", "gemm_v3_128", kOuter, 44, "4611686293322072064", "nn"},
	{"descriptor: 64-byte swizzle", "gemm_sm90", "gemm_v3_128", kInner, 18, "-9223371761976803328", "nt"},
	{"next 16 k looked for in the wrong place", "gemm_sm90", "gemm_v3_256", `\b16416\b`, 2, "16448", "tt"},
	{"operand taken for transposed", "gemm_sm90", "gemm_v3_128", `p, 1, 1, 0, 0;`, 3, "p, 1, 1, 0, 1;", "nt"},
	{"box over the one before", "gemm_sm90", "gemm_v3_128", `\b24576\b`, 1, "16384", "nn"},
	{"coordinates of a box exchanged", "gemm_sm90", "gemm_v3_128", boxAt, 5, "[$1, {$3, $2}]", "nn"},
	{"rows read before the warp has laid them out", "gemm_sm90", "gemm_v3_256", `bar\.warp\.sync\s+-1;`, 2, "", "nt"},
	{"wrong swizzle on the way out", "gemm_sm90", "gemm_v3_256", `xor\.b32`, 3, "or.b32", "nt"},
	{"producer keeps its registers", "gemm_sm90", "gemm_v3_256", `setmaxnreg\.dec\.sync\.aligned\.u32 40;`, 1, "", "nt"},
}

// TestGemmV3Mutants makes one fault at a time in version 3; the sanitizer or the result must show each.
func TestGemmV3Mutants(t *testing.T) {
	t.Parallel()
	sound := map[string][]byte{}
	for _, m := range gemmV3Mutants {
		key := m.kernel + m.scenario
		if sound[key] != nil {
			continue
		}
		d := ptx.NewHopperDriver(1<<30, 1)
		got, err := gemmV3Scenario(d, m.kernel, m.scenario)
		if err != nil {
			t.Fatalf("%s, %s without a fault: %v", m.kernel, m.scenario, err)
		}
		if d.Machine.Counters[m.kernel] == nil {
			t.Fatalf("%s was not chosen", m.kernel)
		}
		sound[key] = got
	}
	shown := make([]verdict, len(gemmV3Mutants))
	t.Run("faults", func(t *testing.T) {
		for i := range gemmV3Mutants {
			m := &gemmV3Mutants[i]
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				d := brokenAlone{&broken{Driver: ptx.NewHopperDriver(1<<30, 1), m: m}}
				d.Machine.MaxInstructions = 1_000_000
				got, err := gemmV3Scenario(d, m.kernel, m.scenario)
				shown[i] = verdict{fault: m.name, kernel: m.kernel}
				switch {
				case !d.applied:
					t.Errorf("not applied: %v", err)
				case errors.As(err, &shown[i].findings):
				case err != nil:
					t.Errorf("the fault cannot be run: %v", err)
				case !bytes.Equal(got, sound[m.kernel+m.scenario]):
					shown[i].row = "other bits"
				}
				t.Logf("%.160s", shown[i].how())
				if !shown[i].caught() {
					t.Error("not caught")
				}
			})
		}
	})
	faultFigures("Faults in GEMM version 3", "One fault at a time in the copies, barriers and products of version 3", shown)
}
