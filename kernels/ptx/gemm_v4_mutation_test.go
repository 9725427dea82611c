package ptx_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// gemmV4Scenario runs one kernel of version 4 on four tiles down, the last partly outside, or one, with a plain
// epilogue, or one that reads a residual, or stores the value before GELU too.
func gemmV4Scenario(d gpu.Driver, kernel, scenario string) ([]byte, error) {
	s := &scene{b: cuda.New(hopper{d, 1}, cuda.Versions{Gemm: 4})}
	m, n, k := 424, 128, 72
	switch kernel {
	case "gemm_v4_192":
		n = 192
	case "gemm_v4_256":
		m, n, k = 104, 248, 264
	}
	g := kernels.Gemm{M: m, N: n, K: k, TransB: true}
	g.Bias, g.Out = s.random(tensor.F32, n), s.out(tensor.BF16, m, n)
	g.A, g.B = s.random(tensor.BF16, m, k), s.random(tensor.BF16, n, k)
	switch scenario {
	case "residual":
		g.Residual, g.Gamma = s.random(tensor.BF16, m, n), s.random(tensor.F32, n)
	case "gelu":
		g.Pre, g.Act = s.out(tensor.BF16, m, n), kernels.GELU
	}
	s.b.Gemm(g)
	return s.result()
}

const (
	proxyFence = `fence\.proxy\.async\.shared::cta;(\s+// end inline asm\s+// begin inline asm\s+bar\.warp\.sync)`
	warpSync   = `(fence\.proxy\.async\.shared::cta;\s+// end inline asm\s+// begin inline asm\s+)bar\.warp\.sync -1;`
	storeBox   = `cp\.async\.bulk\.tensor\.2d\.global\.shared::cta\.bulk_group \[(%rd\d+), \{(%r\d+), (%r\d+)\}\], \[(%r\d+)\];`
	storeFour  = `stmatrix\.sync\.aligned\.m8n8\.x4\.shared\.b16 \[(%r\d+)\], \{(%r\d+), (%r\d+), (%r\d+), (%r\d+)\};`
	loadFour   = `(ldmatrix\.sync\.aligned\.m8n8\.x4\.shared\.b16) \{(%r\d+),(%r\d+),(%r\d+),(%r\d+)\}`
	waitRead   = `cp\.async\.bulk\.wait_group\.read \d;`
)

// Faults of how version 4 finishes tiles; those of the main loop, which it shares with version 3, are in
// gemmV3Mutants.
var gemmV4Mutants = []mutant{
	{"pieces are not shown to the copy engine", "gemm_v4_sm90", "gemm_v4_128", proxyFence, 0, "$1", "plain"},
	{"pieces are not shown to the copy engine, 192", "gemm_v4_sm90", "gemm_v4_192", proxyFence, 0, "$1", "gelu"},
	{"a piece is stored before all lanes have laid it out", "gemm_v4_sm90", "gemm_v4_128", warpSync, 0, "$1", "plain"},
	{"a set is written while it is stored", "gemm_v4_sm90", "gemm_v4_128", waitRead, 0, "", "plain"},
	{"a set of two is written while it is stored", "gemm_v4_sm90", "gemm_v4_192", waitRead, 0, "", "gelu"},
	{"a set is filled while it is stored", "gemm_v4_sm90", "gemm_v4_256", waitRead, 0, "", "residual"},
	{"one store too many may be on its way", "gemm_v4_sm90", "gemm_v4_128", `wait_group\.read 3;`, 0,
		"wait_group.read 4;", "plain"},
	{"one store too many may be on its way, 192", "gemm_v4_sm90", "gemm_v4_192", `wait_group\.read 1;`, 0,
		"wait_group.read 2;", "gelu"},
	{"stores are not committed", "gemm_v4_sm90", "gemm_v4_128", `cp\.async\.bulk\.commit_group;`, 0, "", "plain"},
	{"coordinates of a stored box exchanged", "gemm_v4_sm90", "gemm_v4_128", storeBox, 0,
		"cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [$1, {$3, $2}], [$4];", "plain"},
	{"matrices of a block exchanged", "gemm_v4_sm90", "gemm_v4_128", storeFour, 0,
		"stmatrix.sync.aligned.m8n8.x4.shared.b16 [$1], {$2, $4, $3, $5};", "plain"},
	{"matrices that are read exchanged", "gemm_v4_sm90", "gemm_v4_128", loadFour, 0, "$1 {$2,$4,$3,$5}", "residual"},
	{"half a piece is expected", "gemm_v4_sm90", "gemm_v4_128", `shl\.b32(\s+%r\d+, %r\d+,) 11;`, 0,
		"shl.b32$1 10;", "residual"},
}

// TestGemmV4Mutants makes one fault at a time in version 4; the sanitizer or the result must show each.
func TestGemmV4Mutants(t *testing.T) {
	sound := map[string][]byte{}
	for _, m := range gemmV4Mutants {
		key := m.kernel + m.scenario
		if sound[key] != nil {
			continue
		}
		d := ptx.NewHopperDriver(1<<30, 1)
		got, err := gemmV4Scenario(d, m.kernel, m.scenario)
		if err != nil {
			t.Fatalf("%s, %s without a fault: %v", m.kernel, m.scenario, err)
		}
		if d.Machine.Counters[m.kernel] == nil {
			t.Fatalf("%s, %s: another kernel was chosen", m.kernel, m.scenario)
		}
		sound[key] = got
	}
	shown := make([]verdict, len(gemmV4Mutants))
	t.Run("faults", func(t *testing.T) {
		for i := range gemmV4Mutants {
			m := &gemmV4Mutants[i]
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				d := brokenAlone{&broken{Driver: ptx.NewHopperDriver(1<<30, 1), m: m}}
				d.Machine.MaxInstructions = 1_000_000
				got, err := gemmV4Scenario(d, m.kernel, m.scenario)
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
	faultFigures("Faults in GEMM version 4", "One fault at a time in how version 4 finishes its tiles", shown)
}
