package check

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/optest"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// kernel is what the cases that launched it showed.
type kernel struct {
	cases, same       int
	difference, share float64
}

// The interpreter and the device execute the same PTX on the same inputs, case by case: the same bits where arithmetic
// is exact, else within what one of them may be off the oracle. Prints the largest difference of the cases that
// each kernel took part in.
func TestInterpreterAgrees(t *testing.T) {
	cases := []struct {
		versions cuda.Versions
		opts     []optest.Option
	}{
		{cuda.Versions{}, []optest.Option{optest.Types(tensor.F32, tensor.BF16)}},
		{cuda.Versions{Gemm: 1, Attention: 1}, []optest.Option{optest.Types(tensor.BF16), optest.Only("Gemm", "Attention", "AttentionBackward")}},
		{cuda.Versions{Gemm: 2, Attention: 2}, []optest.Option{optest.Types(tensor.BF16), optest.Only("Gemm", "Attention", "AttentionBackward")}},
	}
	kernels := map[string]*kernel{}
	rows, failed := 0, 0
	for _, c := range cases {
		opts := append(c.opts, optest.Small)
		if !real() {
			opts = append(opts, optest.Each(1))
		}
		d := open(t)
		emulator := &launches{Driver: interpreter(d.Info()), names: map[string]bool{}}
		optest.Agree(backend(t, emulator, c.versions), backend(t, d, c.versions), func(g optest.Agreement) {
			rows++
			if g.Err != nil {
				failed++
				t.Errorf("%s/%s/%s: %v", g.Op, g.Type, g.Row, g.Err)
			}
			for name := range emulator.names {
				k := kernels[name]
				if k == nil {
					k = &kernel{}
					kernels[name] = k
				}
				k.cases++
				if g.Same {
					k.same++
				}
				k.difference, k.share = max(k.difference, g.Difference), max(k.share, g.Share)
			}
			clear(emulator.names)
		}, opts...)
	}
	t.Logf("%d cases on the interpreter and on %s, %d of them disagree\n%s", rows, *device, failed, table(kernels))
	if rows < 50 {
		t.Errorf("only %d cases", rows)
	}
}

// interpreter emulates a device of the capability of the real one, so that both choose the same kernels.
func interpreter(i gpu.Info) gpu.Driver {
	if i.Major == 9 && i.Minor == 0 {
		return ptx.NewHopperDriver(memory, 1)
	}
	return ptx.NewDriver(memory, 1)
}

func table(kernels map[string]*kernel) string {
	var names []string
	for name := range kernels {
		names = append(names, name)
	}
	slices.Sort(names)
	var s strings.Builder
	fmt.Fprint(&s, "| kernel | cases | same bits | largest difference, over the output's largest | share of what is allowed |\n|---|---:|---:|---:|---:|\n")
	for _, name := range names {
		k := kernels[name]
		fmt.Fprintf(&s, "| %s | %d | %d | %.2g | %.2f |\n", name, k.cases, k.same, k.difference, k.share)
	}
	return s.String()
}
