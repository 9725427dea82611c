package ptx_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/optest"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/kernels/ptx/syntax"
	"github.com/dino-mx/dmx/tensor"
)

// computeBound are the operations whose floor is arithmetic: TestMatrixKernelsCountedAccesses holds their accesses.
var computeBound = []string{"Gemm", "Attention", "AttentionBackward", "AttentionRows"}

// suffix is what distinguishes the forms of a kernel by type and vector width.
var suffix = regexp.MustCompile(`(_f32|_bf16|_i32)+[vw]?$`)

// traffic is what the kernels of one operation moved, in bytes.
type traffic struct {
	op, typ, row string
	kernels      []string
	least        int64 // the operation's operands once each
	bus          int64 // different bytes of each launch: what the memory bus must carry
	asked        int64 // what the instructions asked for: second reads of a row still in the cache included
	sectors      float64
	conflicts    int64 // bank cycles of shared memory beyond the least
}

// Memory-bound kernels move at most a tenth more than the bytes of their operation's operands, in whole sectors and without
// a bank conflict in shared memory. Every kernel that ships is measured here or is one of the compute-bound operations'.
func TestMemoryKernelsMoveTheLeastBytes(t *testing.T) {
	t.Parallel()
	x := newBench(t)
	d, b := x.d, x.b
	measured := map[string]bool{}
	var list []traffic
	// note reads and clears the counters of the kernels that the operation launched.
	note := func(m traffic) {
		used, ideal := int64(0), int64(0)
		for name, k := range d.Machine.Counters {
			family := suffix.ReplaceAllString(name, "")
			measured[family] = true
			m.kernels = append(m.kernels, family)
			m.bus += k.Read + k.Written
			m.asked += k.GlobalBytes()
			u, i := k.Sectors()
			used, ideal = used+u, ideal+i
			m.conflicts += k.BankConflicts()
		}
		m.sectors = float64(used) / float64(max(ideal, 1))
		slices.Sort(m.kernels)
		clear(d.Machine.Counters)
		list = append(list, m)
	}
	types := []tensor.DType{tensor.BF16}
	if ptx.Full() {
		types = []tensor.DType{tensor.F32, tensor.BF16}
	}
	for _, op := range optest.Ops() {
		if slices.Contains(computeBound, op) || op == "Copy" {
			continue
		}
		optest.Walk(b, func(c optest.Case) bool {
			if c.Err != nil {
				t.Errorf("%s/%s/%s: %v", c.Op, c.Type, c.Row, c.Err)
			}
			note(traffic{op: c.Op, typ: c.Type, row: c.Row, least: c.Bytes})
			return true
		}, optest.Only(op), optest.Types(types...), optest.Largest(12_000_000), optest.Aligned)
	}
	// Version 1 of GradSquares is a kernel of its own, not a form of the other.
	optest.Walk(cuda.New(d, cuda.Versions{Movers: 1}), func(c optest.Case) bool {
		note(traffic{op: c.Op, typ: c.Type, row: c.Row + ", version 1", least: c.Bytes})
		return true
	}, optest.Only("GradSquares"), optest.Types(tensor.BF16), optest.Largest(12_000_000), optest.Aligned)
	// Of the copies the table's largest keeps the type, which takes no kernel.
	wide, half := x.random(tensor.F32, 197, 1536), x.random(tensor.BF16, 197, 1536)
	for _, c := range []struct{ dst, src *tensor.Tensor }{{half, wide}, {wide, half}} {
		b.Copy(c.dst, c.src)
		if err := b.Sync(); err != nil {
			t.Fatal(err)
		}
		note(traffic{op: "Copy", typ: c.dst.DType().String(), row: "from " + c.src.DType().String(), least: int64(c.dst.NumBytes() + c.src.NumBytes())})
	}
	for _, m := range list {
		if m.least == 0 {
			t.Errorf("%s/%s/%s moves nothing", m.op, m.typ, m.row)
		}
		switch r := m.over(m.bus); {
		case r < 1:
			t.Errorf("%s/%s/%s: only %d bytes over the bus: %d, the operands' bytes, is not the least", m.op, m.typ, m.row, m.bus, m.least)
		case r > 1.1:
			t.Errorf("%s/%s/%s: %d bytes over the bus, %d are needed: %.2f, at most 1.1 allowed", m.op, m.typ, m.row, m.bus, m.least, r)
		}
		if m.sectors > 1.1 {
			t.Errorf("%s/%s/%s (%s): %.2f times the sectors that could hold what is asked for", m.op, m.typ, m.row, strings.Join(m.kernels, ", "), m.sectors)
		}
		if m.conflicts > 0 {
			t.Errorf("%s/%s/%s (%s): %d bank conflicts of shared memory", m.op, m.typ, m.row, strings.Join(m.kernels, ", "), m.conflicts)
		}
	}
	for file, src := range cuda.Sources() {
		mod, err := syntax.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		for name := range mod.Kernels {
			family := suffix.ReplaceAllString(name, "")
			if !measured[family] && !strings.HasPrefix(family, "gemm") && !strings.HasPrefix(family, "attention") {
				t.Errorf("%s: %s is neither measured nor compute-bound", file, name)
				measured[family] = true
			}
		}
	}
	trafficFigures(list)
}

func (m *traffic) over(bytes int64) float64 { return float64(bytes) / float64(max(m.least, 1)) }

func trafficFigures(list []traffic) {
	var b strings.Builder
	b.WriteString("Counted bytes of the memory-bound operations over the least: every input read once, every output written once. Bus counts the\ndifferent bytes of each launch, partial results between launches included: what crosses the memory bus when a row that is read\nagain is still in the cache. Asked counts every request. Sectors is the 32-byte sectors touched over the fewest that could hold what\neach request asked for. No access to shared memory has a bank conflict.\n\n")
	b.WriteString("| operation | type | row | kernels | least bytes | bus | asked | sectors |\n|---|---|---|---|---:|---:|---:|---:|\n")
	for _, m := range list {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %d | %.2f | %.2f | %.2f |\n", m.op, m.typ, m.row, strings.Join(m.kernels, ", "), m.least, m.over(m.bus), m.over(m.asked), m.sectors)
	}
	ptx.Figure("Traffic", b.String())
}
