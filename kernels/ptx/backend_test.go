package ptx_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/optest"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/kernels/ptx/syntax"
	"github.com/dino-mx/dmx/tensor"
)

// family is a choice among the versions of the kernels and the rows of the table that it is run on.
type family struct {
	name     string
	versions cuda.Versions
	opts     []optest.Option
	// schedules of the ordinary form; the full form has three.
	schedules uint64
	// sms are the multiprocessors of an emulated device of compute capability 9.0 on each schedule; without, the device is
	// one of 8.0.
	sms []int
}

// families together launch every kernel that ships. The first is what a device of compute capability 8.0 would do; the
// others run the plain versions too, and the tensor-core ones around the edges of their tiles. The blocks of GEMM version 3
// are persistent: on one multiprocessor one of them works on all tiles.
var families = []family{
	{"chosen by shape", cuda.Versions{}, []optest.Option{optest.Small, optest.Types(tensor.F32, tensor.BF16)}, 3, nil},
	{"version 1", cuda.Versions{Gemm: 1, Attention: 1}, []optest.Option{optest.Small, optest.Types(tensor.BF16), optest.Only("Gemm", "Attention", "AttentionBackward")}, 3, nil},
	{"chosen by shape, tile edges", cuda.Versions{}, []optest.Option{optest.MaxWork(20_000_000), optest.Aligned, optest.Types(tensor.BF16), optest.Only("Gemm", "Attention", "AttentionBackward")}, 1, nil},
	{"chosen by shape, long and wide", cuda.Versions{}, []optest.Option{optest.Named("striped"), optest.Types(tensor.F32, tensor.BF16)}, 1, nil},
	{"version 3, tile edges", cuda.Versions{Gemm: 3}, []optest.Option{optest.MaxWork(20_000_000), optest.Named("even"), optest.Types(tensor.BF16), optest.Only("Gemm")}, 1, []int{132, 132, 132}},
	{"movers version 1", cuda.Versions{Movers: 1}, []optest.Option{optest.Small, optest.Only("ActForward", "ActBackward", "RoPE", "Patchify", "RowLogSumExp", "ColSumExp", "CrossEntropy", "ColMoments", "GradSquares")}, 1, nil},
	{"version 3, few multiprocessors", cuda.Versions{Gemm: 3}, []optest.Option{optest.MaxWork(400_000), optest.Named("even"), optest.Types(tensor.BF16), optest.Only("Gemm")}, 2, []int{1, 2, 3}},
	{"version 4", cuda.Versions{Gemm: 4}, []optest.Option{optest.MaxWork(40_000_000), optest.Named("tiled"), optest.Types(tensor.BF16), optest.Only("Gemm")}, 2, []int{1, 132, 3}},
}

// device is the emulated device of a schedule, counted from 1.
func (f *family) device(schedule uint64) (gpu.Driver, *ptx.Machine) {
	if f.sms == nil {
		d := ptx.NewDriver(1<<30, schedule)
		return d, d.Machine
	}
	d := ptx.NewHopperDriver(1<<30, schedule)
	return hopper{d, f.sms[schedule-1]}, d.Machine
}

// tally is what the rows of one operation showed, over the schedules.
type tally struct{ cases, findings, wrong int }

// Every operation of the CUDA backend, forward and gradient, executed from the shipped PTX under the sanitizer on
// three schedules: a finding is a fault of the operation. In the end every kernel must have run.
func TestOperations(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	shown := map[string]*tally{} // by family and operation
	executed := map[string][]bool{}
	t.Run("families", func(t *testing.T) {
		for _, f := range families {
			schedules := f.schedules
			if ptx.Full() {
				schedules = 3
			}
			for seed := uint64(1); seed <= schedules; seed++ {
				t.Run(fmt.Sprintf("%s/schedule %d", f.name, seed), func(t *testing.T) {
					t.Parallel()
					d, machine := f.device(seed)
					mine := map[string]*tally{}
					optest.Walk(cuda.New(d, f.versions), func(c optest.Case) bool {
						key := fmt.Sprintf("%s | %s", c.Op, f.name)
						n := mine[key]
						if n == nil {
							n = &tally{}
							mine[key] = n
						}
						n.cases++
						if c.Err != nil {
							t.Errorf("%s/%s/%s: %v", c.Op, c.Type, c.Row, c.Err)
							if errors.As(c.Err, new(ptx.Findings)) {
								n.findings++
							} else {
								n.wrong++
							}
						}
						return true
					}, f.opts...)
					mu.Lock()
					defer mu.Unlock()
					for key, n := range mine {
						all := shown[key]
						if all == nil {
							all = &tally{}
							shown[key] = all
						}
						all.cases = n.cases
						all.findings += n.findings
						all.wrong += n.wrong
					}
					for name, c := range machine.Counters {
						if executed[name] == nil {
							executed[name] = make([]bool, len(c.PerInstr))
						}
						for i := range c.PerInstr {
							executed[name][i] = executed[name][i] || c.PerInstr[i].Execs > 0
						}
					}
				})
			}
		}
	})
	if t.Failed() {
		return
	}
	everyKernelRan(t, executed)
	operationFigures(shown)
}

// everyKernelRan compares what was launched with what ships.
func everyKernelRan(t *testing.T, executed map[string][]bool) {
	var b strings.Builder
	b.WriteString("Every kernel that ships is launched by the operations above.\n\n| module | for | kernels | launched | instructions | executed at least once |\n|---|---|---:|---:|---:|---:|\n")
	sources := cuda.Sources()
	for _, file := range slices.Sorted(maps.Keys(sources)) {
		mod, err := syntax.Parse(sources[file])
		if err != nil {
			t.Fatal(err)
		}
		launched, all, done := 0, 0, 0
		for _, k := range mod.Ordered() {
			ran := executed[k.Name]
			if ran == nil {
				t.Errorf("%s: no operation launched %s", file, k.Name)
				continue
			}
			launched++
			all += len(ran)
			for _, e := range ran {
				if e {
					done++
				}
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %.1f %% |\n", file, mod.Target, len(mod.Kernels), launched, all, 100*float64(done)/float64(max(all, 1)))
	}
	ptx.Figure("Kernels", b.String())
}

func operationFigures(shown map[string]*tally) {
	var b strings.Builder
	b.WriteString("Each case is a row of the operations' table in kernels/optest: shapes on both sides of every tile edge, against the float64\noracle by the rule of its package comment. Gradients are the operations that end in Backward, and KoLeo and CrossEntropy, which\nreturn theirs.\n\n")
	b.WriteString("| operation | kernels | cases | schedules | findings | wrong results |\n|---|---|---:|---:|---:|---:|\n")
	total := tally{}
	for _, key := range slices.Sorted(maps.Keys(shown)) {
		n := shown[key]
		fmt.Fprintf(&b, "| %s | %d | 3 | %d | %d |\n", key, n.cases, n.findings, n.wrong)
		total.cases += n.cases
		total.findings += n.findings
		total.wrong += n.wrong
	}
	fmt.Fprintf(&b, "| all | | %d | 3 | %d | %d |\n", total.cases, total.findings, total.wrong)
	ptx.Figure("Operations", b.String())
}

// The gradients of every backward operation against central differences of its forward in float64.
func TestGradients(t *testing.T) {
	optest.Gradients(t, cuda.New(ptx.NewDriver(1<<30, 1), cuda.Versions{}))
}
