package loss

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/tensor"
)

// fixtures is the part of ../testdata/losses.json that concerns single losses.
type fixtures struct {
	Losses []struct {
		Kind, Method   string
		Locals         int
		Counts         []int
		RemoveNegative bool `json:"remove_negative"`
		Global, Local  float64
		DStudent       [2]float64
		DPrototypes    [2]float64
		Centre         [2]float64
	}
}

func loadFixtures(t testing.TB) (f fixtures) {
	t.Helper()
	text, err := os.ReadFile("../testdata/losses.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Losses) == 0 {
		t.Fatal("testdata/losses.json is incomplete")
	}
	return f
}

func newCPU(t testing.TB, threads int) *cpu.Backend {
	b := cpu.New(cpu.Options{Threads: threads})
	t.Cleanup(b.Close)
	return b
}

// wave is the formula of losses.py.
func wave(name string, shape ...int) *tensor.Tensor {
	start := 0
	for _, b := range []byte(name) {
		start += int(b)
	}
	x := tensor.Zeros(tensor.F64, shape...)
	for i := range x.F64() {
		x.F64()[i] = math.Sin(float64(start%997) + 0.7*float64(i+1))
	}
	return x
}

// waveUnit is wave with rows of norm 1.
func waveUnit(name string, rows, width int) *tensor.Tensor {
	x := wave(name, rows, width)
	for r := range rows {
		sum := 0.0
		row := x.F64()[r*width : (r+1)*width]
		for _, v := range row {
			sum += v * v
		}
		for i := range row {
			row[i] /= math.Sqrt(sum)
		}
	}
	return x
}

// digest is norm and projection, as in losses.py.
func digest(x *tensor.Tensor) (d [2]float64) {
	w := wave("digest", x.Len())
	for i := range x.Len() {
		d[0] += x.At(i) * x.At(i)
		d[1] += x.At(i) * w.At(i)
	}
	d[0] = math.Sqrt(d[0])
	return d
}

// near compares two numbers relative to the size of the quantity they belong to.
func near(t testing.TB, what string, got, want, size, limit float64) {
	t.Helper()
	if d := math.Abs(got - want); !(d <= limit*max(size, math.Abs(want))) {
		t.Errorf("%s is %.9g, the reference has %.9g (off by %.2g, limit %.1g of %.2g)", what, got, want, d, limit, max(size, math.Abs(want)))
	}
}

func nearDigest(t testing.TB, what string, x *tensor.Tensor, want [2]float64, limit float64) {
	t.Helper()
	got := digest(x)
	near(t, "norm of "+what, got[0], want[0], 1e-9, limit)
	near(t, "projection of "+what, got[1], want[1], want[0], limit)
}

// TestLossesAgainstReference: every loss with its gradients and the centre it leaves, in the oracle and in f32, with the
// logits of all rows at once and in chunks of one unit.
func TestLossesAgainstReference(t *testing.T) {
	cpu := newCPU(t, 2)
	for _, c := range loadFixtures(t).Losses {
		for _, e := range []struct {
			name  string
			b     kernels.Backend
			dtype tensor.DType
			limit float64
		}{{"f64", ref.New(), tensor.F64, 1e-9}, {"f32", cpu, tensor.F32, 1e-5}} {
			for _, chunk := range []int{1 << 20, 1} {
				name := fmt.Sprintf("%s %s locals %d %s chunk %d", c.Kind, c.Method, c.Locals, e.name, chunk)
				tape := nn.Builder{Backend: e.b, DType: e.dtype, Train: true}.NewTape()
				tape.A.Poison = true
				as := func(x *tensor.Tensor) *tensor.Tensor { return convert(x, e.dtype) }
				param := func(x *tensor.Tensor) *autograd.Var {
					return autograd.NewParam(as(x), tensor.Zeros(e.dtype, x.Shape()...))
				}
				sum := func(x *tensor.Tensor) (s float64) {
					for i := range x.Len() {
						s += x.At(i)
					}
					return s
				}
				switch c.Kind {
				case "koleo":
					x := param(wave("koleo", 5, 6))
					term, err := KoLeo{optim.Constant(0.1)}.New(Env{
						Backend: e.b, DType: e.dtype, Stat: e.dtype, Images: 5, Local: 5, Total: 5, Globals: 1, Dim: 6,
					})
					if err != nil {
						t.Fatal(err)
					}
					loss := tensor.Zeros(e.dtype, 1)
					term.Backward(&Inputs{Tape: tape, Place: Place{Images: 5, Total: 5}, First: true, CLS: tape.Gather(x, identity(5)), Loss: loss})
					tape.Backward()
					near(t, name, sum(loss), c.Global, 0, e.limit)
					nearDigest(t, name+" gradient", x.Grad, c.DStudent, 3*e.limit)
				case "gram":
					x := param(wave("gram student", 12, 5))
					term, err := Gram{optim.Constant(0.5), c.RemoveNegative}.New(Env{Stat: e.dtype, Globals: 1})
					if err != nil {
						t.Fatal(err)
					}
					loss := tensor.Zeros(e.dtype, 1)
					term.Backward(&Inputs{
						Tape: tape, Place: Place{Images: 2, Total: 2}, Patches: tape.Gather(x, identity(12)),
						Snapshot: as(wave("gram teacher", 12, 5)), Loss: loss,
					})
					tape.Backward()
					near(t, name, sum(loss), c.Global, 0, e.limit)
					nearDigest(t, name+" gradient", x.Grad, c.DStudent, 3*e.limit)
				default:
					const width, k = 4, 7
					units, u, temp, weight := 3, imagePattern(2, c.Locals), 0.07, 0.8
					weights := tensor.Zeros(tensor.F64, 3*u.count())
					for i := range weights.Len() {
						weights.Set(i, weight/float64(3*u.count()))
					}
					if c.Kind == "ibot" {
						u, temp = patchPattern(), 0.05
						var ws []float64
						for _, n := range c.Counts {
							for range n {
								ws = append(ws, 0.6/float64(n*len(c.Counts)))
							}
						}
						units, weights = len(ws), tensor.FromF64(ws, len(ws))
					}
					target, err := newCentring(&Env{Backend: e.b, Stat: e.dtype}, c.Kind, k, units*u.teachers, Targets{Sinkhorn: c.Method == "sinkhorn_knopp", CentreMomentum: .9})
					if err != nil {
						t.Fatal(err)
					}
					start := as(wave("centre", k))
					e.b.Copy(target.centre, start)
					e.b.Scale(target.centre, 0.3)
					p, err := newPrototypeLoss(e.b, e.dtype, u, k, units, chunk, target)
					if err != nil {
						t.Fatal(err)
					}
					w := param(wave("prototypes", k, width))
					ds := tensor.Zeros(e.dtype, units*u.students, width)
					loss := tensor.Zeros(e.dtype, units, u.count())
					teacher, prototypes := as(waveUnit("teacher", units*u.teachers, width)), as(wave("teacher prototypes", k, width))
					p.prepare(tape, TeacherHead{teacher, func() *tensor.Tensor { return prototypes }}, 1/temp, units*u.teachers)
					p.run(tape, prototypeInputs{
						Student: as(waveUnit("student", units*u.students, width)), DStudent: ds, Prototypes: w,
						Teacher: teacher, TeacherW: prototypes,
						Weights: as(weights), Loss: loss.Reshape(units * u.count()), STemp: 0.1, TTemp: temp,
					})
					one := tensor.Zeros(e.dtype, 1)
					e.b.Fill(one, 1)
					target.update(one)
					global, local := 0.0, 0.0
					for i := range loss.Len() {
						if c.Kind == "dino" && i%u.count() >= 2 {
							local += loss.At(i)
						} else {
							global += loss.At(i)
						}
					}
					near(t, name+" global", global, c.Global, 0, e.limit)
					near(t, name+" local", local, c.Local, 0, e.limit)
					nearDigest(t, name+" features' gradient", ds, c.DStudent, 3*e.limit)
					nearDigest(t, name+" prototypes' gradient", w.Grad, c.DPrototypes, 3*e.limit)
					if c.Method == "centering" {
						nearDigest(t, name+" centre", target.centre, c.Centre, e.limit)
					}
					if tape.A.InUse() != 0 {
						t.Errorf("%s leaves %d bytes in the arena", name, tape.A.InUse())
					}
				}
			}
		}
	}
}

// identity picks all of n rows.
func identity(n int) autograd.RowMap {
	at := make([]int32, n)
	for i := range at {
		at[i] = int32(i)
	}
	x := tensor.FromI32(at, n)
	return autograd.RowMap{Index: x, Inverse: x}
}

func convert(x *tensor.Tensor, d tensor.DType) *tensor.Tensor {
	y := tensor.Zeros(d, x.Shape()...)
	for i := range x.Len() {
		y.Set(i, x.At(i))
	}
	return y
}

// TestLogitsMemory: the peak of the prototype loss is one chunk of logits on each side, not those of all rows.
func TestLogitsMemory(t *testing.T) {
	b := newCPU(t, 1)
	const units, k, width = 64, 512, 8
	for _, sinkhorn := range []bool{false, true} {
		target, err := newCentring(&Env{Backend: b, Stat: tensor.F32}, "test", k, units, Targets{Sinkhorn: sinkhorn, CentreMomentum: .9})
		if err != nil {
			t.Fatal(err)
		}
		p, err := newPrototypeLoss(b, tensor.F32, patchPattern(), k, units, 8*k*4, target)
		if err != nil {
			t.Fatal(err)
		}
		tape := nn.Builder{Backend: b, DType: tensor.F32, Train: true}.NewTape()
		unit := func(name string, n int) *tensor.Tensor { return convert(waveUnit(name, n, width), tensor.F32) }
		teacher, prototypes := unit("t", units), unit("v", k)
		p.prepare(tape, TeacherHead{teacher, func() *tensor.Tensor { return prototypes }}, 1/.05, units)
		p.run(tape, prototypeInputs{
			Student: unit("s", units), DStudent: tensor.Zeros(tensor.F32, units, width),
			Prototypes: autograd.NewParam(unit("w", k), tensor.Zeros(tensor.F32, k, width)),
			Teacher:    teacher, TeacherW: prototypes,
			Weights: tensor.Zeros(tensor.F32, units), Loss: tensor.Zeros(tensor.F32, units), STemp: .1, TTemp: .05,
		})
		most := 2*8*k*4 + (units+8)*4 + k*4 + 5*256 // logits of both sides, row statistics, column sums, rounding
		if got := tape.A.Peak(); got > most {
			t.Errorf("sinkhorn %v: peak %d bytes, the count allows %d (all logits take %d)", sinkhorn, got, most, 2*units*k*4)
		}
	}
}
