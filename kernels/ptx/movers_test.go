package ptx_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

var moversTable = flag.String("movers", "", "write the table of kernels that move bytes to this file: just movers")

// The H200 that version 1 was measured on. copyRate, and the times of version 1, are measured (bench/gpu, section memory, two
// rounds); the others are from NVIDIA's Hopper whitepaper and, for the latency, from published microbenchmarks of loads
// that miss the caches of a Hopper chip under load.
const (
	copyRate     = 4053e9 // bytes a second, read and written
	moverSMs     = 132
	clock        = 1.755e9 // Hz, between the base and the largest clock
	issueRate    = 4       // warp instructions a clock of a multiprocessor
	specialRate  = 0.5     // warp instructions a clock of the units for exponentials and divisions
	sharedRate   = 1       // bank cycles a clock
	loadLatency  = 800e-9  // seconds
	launchTime   = 2e-6    // seconds, of each kernel beside its work
	residentWarp = 64      // warps that a multiprocessor holds at most
	registers    = 65536   // of a multiprocessor
)

const moversHead = `# Kernels that move bytes: counted, and predicted for an H200

Written by: just movers

Each operation runs on the interpreter in version 1 (up to four elements an access) and version 2 (16 bytes, several accesses in
flight), at a small size of the same structure; counts are scaled to the size of its measurement in bench/gpu: the packed tokens
of a ViT-B DINOv2 step of 64 images, and 640 rows of 65,536 logits. Instructions are those that ptxas makes of the PTX, estimated
(a division is 9, a 64-bit sum 2, parameters 0). The prediction is the largest of: bytes at the rate of a copy, instructions at four
a clock of a multiprocessor, exponentials and divisions at half an instruction a clock, bank cycles of shared memory, and latency:
every resident warp waits 800 ns for the loads it has in flight; and 2 µs for each kernel. The rate of a copy and the times of version
1 are measured on an H200; the rates of the chip are from its data sheet, the latency from published microbenchmarks. Version
2 has not been measured: where the prediction for version 1 is below its measurement, the model forgives something.

`

// mover is an operation at the size of its measurement and at one that the interpreter runs.
type mover struct {
	name     string
	full     int64   // least bytes at the measured size
	measured float64 // version 1, in microseconds
	// flight is the number of independent loads of a thread between two waits, in version 1 and 2.
	flight [2]float64
	scale  float64 // how often the small size fits into the measured one
	run    func(x *bench, b *cuda.Backend)
}

// counts is what one version does at the measured size.
type counts struct {
	kernels                               []string
	instructions, special, wavefronts     float64
	loads, warps                          float64 // warp loads from global memory; warps launched
	sectors, bytes                        float64
	registers                             int
	bytesTime, issue, shared, unit, delay float64 // seconds
}

func (c *counts) predicted() float64 {
	return max(c.bytesTime, c.issue, c.shared, c.unit, c.delay) + launchTime*float64(len(c.kernels))
}

// cost is the number of machine instructions that ptxas makes of a PTX instruction, about: parameters are operands, 64-bit
// integers are pairs, and divisions are sequences.
func cost(text string) (issue, special float64) {
	switch {
	case strings.HasPrefix(text, "ld.param"), strings.HasPrefix(text, "mov.u32"), strings.HasPrefix(text, "cvta"):
		return 0, 0
	case strings.HasPrefix(text, "div.rn.f32"), strings.HasPrefix(text, "sqrt.rn"):
		return 9, 1
	case strings.HasPrefix(text, "ex2"), strings.HasPrefix(text, "lg2"), strings.HasPrefix(text, "rcp"):
		return 1, 1
	case strings.HasPrefix(text, "div."), strings.HasPrefix(text, "rem."):
		return 20, 2
	case strings.HasPrefix(text, "mad.lo.s64"), strings.HasPrefix(text, "mul.lo.s64"):
		return 4, 0
	case strings.Contains(text, "64") && !strings.Contains(text, "wide") && !strings.HasPrefix(text, "ld") && !strings.HasPrefix(text, "st"):
		return 2, 0
	}
	return 1, 0
}

var registerRow = regexp.MustCompile(`(?m)^\| (\w+) \| [^|]* \| [^|]* \| [^|]* \| (\d+) \|`)

// registersOf reads the registers of every kernel on sm_90 from the committed table of ptxas.
func registersOf(t *testing.T) map[string]int {
	text, err := os.ReadFile("../../bench/ptxas.md")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]int{}
	for _, row := range registerRow.FindAllStringSubmatch(string(text), -1) {
		m[row[1]], _ = strconv.Atoi(row[2])
	}
	return m
}

// count runs the operation once on one version and scales what it did.
func (m *mover) count(t *testing.T, version int, regs map[string]int) *counts {
	d := ptx.NewDriver(1<<30, 1)
	recorder := &launches{Driver: d}
	b := cuda.New(recorder, cuda.Versions{Movers: version})
	x := &bench{t, d, b}
	m.run(x, b) // scratch memory and tables are in place from now on
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	clear(d.Machine.Counters)
	recorder.warps = map[string]float64{}
	m.run(x, b)
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	c := &counts{}
	for name, k := range d.Machine.Counters {
		if strings.HasPrefix(name, "fill_") || recorder.warps[name] == 0 {
			continue
		}
		c.kernels = append(c.kernels, name)
		loads := 0.0
		for i := range k.PerInstr {
			in := &k.PerInstr[i]
			issue, special := cost(in.Text)
			c.instructions += m.scale * issue * float64(in.Execs)
			c.special += m.scale * special * float64(in.Execs)
			c.wavefronts += m.scale * float64(in.Wavefronts)
			c.sectors += m.scale * float64(in.Sectors)
			c.bytes += m.scale * float64(in.Bytes)
			if strings.HasPrefix(in.Text, "ld.") && in.Sectors > 0 {
				loads += m.scale * float64(in.Execs)
			}
		}
		c.loads += loads
		c.warps += m.scale * recorder.warps[name]
		if regs[name] == 0 {
			t.Errorf("%s is not in bench/ptxas.md", name)
			continue
		}
		c.registers = max(c.registers, regs[name])
		// Every resident warp waits for flight loads at a time.
		resident := min(m.scale*recorder.warps[name]/moverSMs, residentWarp, math.Floor(registers/float64(32*regs[name])))
		c.delay += loads / m.flight[version-1] * loadLatency / (resident * moverSMs)
	}
	chip := float64(moverSMs) * clock
	c.bytesTime, c.issue = float64(m.full)/copyRate, c.instructions/(chip*issueRate)
	c.unit, c.shared = c.special/(chip*specialRate), c.wavefronts/(chip*sharedRate)
	return c
}

// launches is a driver that counts the warps of each kernel.
type launches struct {
	gpu.Driver
	warps map[string]float64
}

func (l *launches) Launch(x *gpu.Launch) error {
	threads := x.Block[0] * x.Block[1] * x.Block[2]
	if l.warps != nil {
		l.warps[x.Name] += float64(x.Grid[0] * x.Grid[1] * x.Grid[2] * ((threads + 31) / 32))
	}
	return l.Driver.Launch(x)
}

// movers are the operations at the sizes of bench/gpu: the packed tokens of a ViT-B DINOv2 step of 64 images, and the logits
// of its CLS tokens.
func movers() []mover {
	const tokens, rows, prototypes = 58496, 640, 65536
	element := func(name string, full int64, measured float64, flight [2]float64, run func(b *cuda.Backend, out, dy, x *tensor.Tensor)) mover {
		return mover{name, full, measured, flight, tokens / 8, func(x *bench, b *cuda.Backend) {
			shape := []int{8, 3072}
			run(b, x.random(tensor.BF16, shape...), x.random(tensor.BF16, shape...), x.random(tensor.BF16, shape...))
		}}
	}
	logits := func(name string, full int64, measured float64, flight [2]float64, r, c int, run func(x *bench, b *cuda.Backend, l *tensor.Tensor)) mover {
		return mover{name, full, measured, flight, float64(rows) * prototypes / float64(r*c), func(x *bench, b *cuda.Backend) {
			run(x, b, x.random(tensor.BF16, r, c))
		}}
	}
	return []mover{
		element("ActForward GELU", 2*2*tokens*3072, 433, [2]float64{1, 2}, func(b *cuda.Backend, out, _, x *tensor.Tensor) { b.ActForward(out, x, kernels.GELU) }),
		element("ActBackward GELU", 3*2*tokens*3072, 654, [2]float64{2, 4}, func(b *cuda.Backend, dx, dy, x *tensor.Tensor) { b.ActBackward(dx, dy, x, kernels.GELU) }),
		{"RoPE", 2 * 2 * tokens * 2 * 768, 258, [2]float64{2, 2}, tokens / 64, func(x *bench, b *cuda.Backend) {
			index := make([]int32, 64)
			for i := range index {
				index[i] = int32(i)
			}
			b.RoPE(x.random(tensor.BF16, 64, 2304), x.random(tensor.F32, 64, 32), x.random(tensor.F32, 64, 32), x.indices(index...), 12, false)
		}},
		{"Patchify", 6 * 128 * 3 * 224 * 224, 160, [2]float64{1, 4}, 128 * 4, func(x *bench, b *cuda.Backend) {
			b.Patchify(x.random(tensor.BF16, 4*16, 3*14*14), x.random(tensor.F32, 1, 3, 56, 224), 14)
		}},
		logits("RowLogSumExp", 2*rows*prototypes, 46, [2]float64{1, 4}, 2, 65536, func(x *bench, b *cuda.Backend, l *tensor.Tensor) {
			b.RowLogSumExp(x.random(tensor.F32, 2), l, x.random(tensor.F32, 65536), 1)
		}),
		logits("ColSumExp", 2*rows*prototypes, 46, [2]float64{1, 8}, 64, 1024, func(x *bench, b *cuda.Backend, l *tensor.Tensor) {
			b.ColSumExp(x.random(tensor.F32, 1024), l, x.random(tensor.F32, 1024), x.random(tensor.F32, 64), 1)
		}),
		logits("CrossEntropy", 2*(2*rows+rows/4)*prototypes, 180, [2]float64{2, 8}, 8, 8192, func(x *bench, b *cuda.Backend, l *tensor.Tensor) {
			starts, teachers := make([]int32, 9), make([]int32, 16)
			for i := range 8 {
				starts[i+1], teachers[2*i+1] = int32(2*i+2), 1
			}
			b.CrossEntropy(kernels.CrossEntropy{
				Loss: x.random(tensor.F32, 16), DS: x.random(tensor.BF16, 8, 8192), S: l, SLSE: x.random(tensor.F32, 8),
				T: x.random(tensor.BF16, 2, 8192), TLSE: x.random(tensor.F32, 2), Centre: x.random(tensor.F32, 8192), SInvTemp: 1, TInvTemp: 1,
				Starts: x.indices(starts...), Rows: x.indices(teachers...), Weights: x.random(tensor.F32, 16),
			})
		}),
		logits("ColMoments", 2*rows*prototypes, 297, [2]float64{1, 8}, 128, 512, func(x *bench, b *cuda.Backend, l *tensor.Tensor) {
			b.ColMoments(x.random(tensor.F32, 512), x.random(tensor.F32, 512), l)
		}),
		{"GradSquares", 340e6, 176, [2]float64{1, 4}, 340e6 / (4 * 65536), func(x *bench, b *cuda.Backend) {
			weights := func() *tensor.Tensor { return x.random(tensor.F32, 256, 256) }
			b.GradSquares(x.random(tensor.F32, 1), &kernels.ParamTable{Groups: 1, Entries: []kernels.ParamEntry{{Param: weights(), Grad: weights(), M: weights(), V: weights()}}})
		}},
	}
}

func (c *counts) bound() string {
	name, worst := "bytes", c.bytesTime
	for _, x := range []struct {
		name string
		v    float64
	}{{"instructions", c.issue}, {"exponentials", c.unit}, {"shared memory", c.shared}, {"latency", c.delay}} {
		if x.v > worst {
			name, worst = x.name, x.v
		}
	}
	return name
}

// The kernels that moved bytes slowest on a card, both versions counted on the interpreter: by the counts and the rates of
// the chip, version 2 must reach at least 85 % of a copy, and the model must have told why version 1 does not: what it
// predicts for version 1 is compared with its measured time in the table.
func TestMoversArePredictedNearACopy(t *testing.T) {
	regs := registersOf(t)
	var table strings.Builder
	fmt.Fprintf(&table, "| operation | version | kernels | instructions | sectors a byte | shared wavefronts | registers | bytes, µs | issue, µs | exp, µs | latency, µs | predicted, µs | bound by | of copy | measured, µs |\n|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|---:|\n")
	for _, m := range movers() {
		for version := 1; version <= 2; version++ {
			c := m.count(t, version, regs)
			of := c.bytesTime / c.predicted()
			measured := ""
			if version == 1 {
				measured = fmt.Sprintf("%.0f", m.measured)
			}
			us := func(s float64) string { return fmt.Sprintf("%.1f", 1e6*s) }
			fmt.Fprintf(&table, "| %s | %d | %s | %.3g | %.4f | %.3g | %d | %s | %s | %s | %s | %s | %s | %.0f %% | %s |\n", m.name, version, strings.Join(c.kernels, ", "),
				c.instructions, c.sectors/max(c.bytes, 1), c.wavefronts, c.registers, us(c.bytesTime), us(c.issue), us(c.unit), us(c.delay), us(c.predicted()), c.bound(), 100*of, measured)
			if version == 2 && of < 0.85 {
				t.Errorf("%s: %.0f %% of a copy predicted, bound by %s; at least 85 wanted", m.name, 100*of, c.bound())
			}
		}
	}
	t.Log("\n" + table.String())
	if *moversTable != "" {
		if err := os.WriteFile(*moversTable, []byte(moversHead+table.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
