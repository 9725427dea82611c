package ssl

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/ssl/mask"
	"github.com/dino-mx/dmx/tensor"
)

// fixtures is testdata/losses.json, written by testdata/losses.py.
type fixtures struct {
	Masks []struct {
		Exact bool
		Step  uint32
		Crops [][]bool
	}
	Trajectories []struct {
		Recipe struct {
			Name            string
			WeightNorm      bool `json:"weight_norm"`
			TrainGain       bool `json:"train_gain"`
			SeparateHead    bool `json:"separate_head"`
			Sinkhorn, Exact bool
			IBOT, KoLeo     float64
			Clip, Freeze    string
			LayerDecay      float64 `json:"layer_decay"`
			PatchLR         float64 `json:"patch_lr"`
		}
		Losses      [][4]float64
		Student     map[string][2]float64
		Teacher     map[string][2]float64
		Centre      [2]float64
		PatchCentre [2]float64 `json:"patch_centre"`
	}
}

func loadFixtures(t testing.TB) (f fixtures) {
	t.Helper()
	text, err := os.ReadFile("testdata/losses.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Masks) == 0 || len(f.Trajectories) != 3 {
		t.Fatal("testdata/losses.json is incomplete")
	}
	return f
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

func TestMasksAgainstReference(t *testing.T) {
	for _, m := range loadFixtures(t).Masks {
		s := mask.Settings{GridH: 6, GridW: 6, Probability: .7, Ratio: [2]float64{.1, .6}, Exact: m.Exact}
		got := make([]bool, 8*36)
		s.Fill(got, 8, 11, m.Step)
		var want []bool
		for _, c := range m.Crops {
			want = append(want, c...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("exact %v, step %d (-want +got):\n%s", m.Exact, m.Step, diff)
		}
	}
}

func convert(x *tensor.Tensor, d tensor.DType) *tensor.Tensor {
	y := tensor.Zeros(d, x.Shape()...)
	for i := range x.Len() {
		y.Set(i, x.At(i))
	}
	return y
}

// TestTrajectoriesAgainstReference makes ten steps of three recipes with PyTorch's weights, images and masks.
func TestTrajectoriesAgainstReference(t *testing.T) {
	cpu := newCPU(t, 2)
	for _, f := range loadFixtures(t).Trajectories {
		r := f.Recipe
		s := micro()
		s.Batch = 4
		s.DINO.Head.WeightNorm, s.DINO.Head.FreezeGain = r.WeightNorm, !r.TrainGain
		s.IBOT.Weight, s.KoLeo.Weight = optim.Constant(r.IBOT), optim.Constant(r.KoLeo)
		s.Targets.Sinkhorn, s.IBOT.Mask.Exact = r.Sinkhorn, r.Exact
		if r.SeparateHead {
			s.IBOT.Head = &nn.HeadConfig{Hidden: 10, Bottleneck: 5, Prototypes: 7, Layers: 3, WeightNorm: r.WeightNorm}
		}
		s.Schedules = Schedules{
			LR: optim.Cosine{Base: 2e-3, Final: 1e-5, Warmup: 3, Total: 12}, WeightDecay: optim.Cosine{Base: .04, Final: .4, Total: 12},
			Momentum: optim.Cosine{Base: .9, Final: 1, Total: 12}, TeacherTemp: optim.Linear{Start: .04, End: .07, Warmup: 5},
			FreezeLastLayer: 3, LastLayer: optim.LastLayerHeld,
		}
		if r.Freeze == "skipped" {
			s.Schedules.LastLayer = optim.LastLayerSkipped
		}
		s.Optim.LayerDecay, s.Optim.PatchEmbedLR = r.LayerDecay, r.PatchLR
		s.Optim.Clip = optim.ClipPerModule
		if r.Clip == "tensor" {
			s.Optim.Clip = optim.ClipPerParameter
		}
		for _, e := range []struct {
			name    string
			b       kernels.Backend
			dtype   tensor.DType
			losses  float64
			weights float64
		}{{"f64", ref.New(), tensor.F64, 1e-8, 1e-7}, {"f32", cpu, tensor.F32, 1e-4, 3e-4}} {
			t.Run(r.Name+" "+e.name, func(t *testing.T) {
				m, err := Build(e.b, e.dtype, s, Sources{Student: fillWith(initialWave)})
				if err != nil {
					t.Fatal(err)
				}
				tr, err := NewTrainer(m)
				if err != nil {
					t.Fatal(err)
				}
				tr.tape.A.Poison = true
				for step, want := range f.Losses {
					b := Batch{
						Views: []*tensor.Tensor{
							convert(wave(fmt.Sprintf("globals %d", step), 8, 1, 8, 8), tensor.F32),
							convert(wave(fmt.Sprintf("locals %d", step), 8, 1, 4, 4), tensor.F32),
						},
					}
					m, err := tr.Step(b)
					if err != nil {
						t.Fatal(err)
					}
					for i, got := range []float64{m.Of("dino_global"), m.Of("dino_local"), m.Of("ibot"), m.Of("koleo")} {
						near(t, fmt.Sprintf("step %d: part %d", step, i), got, want[i], 0.1, e.losses)
					}
				}
				for _, side := range []struct {
					name string
					n    *Network
					want map[string][2]float64
				}{{"student", tr.Student, f.Student}, {"teacher", tr.Teacher.Network, f.Teacher}} {
					n := 0
					for _, p := range side.n.parts() {
						for _, q := range p.params.All() {
							want, ok := side.want[q.Name]
							if !ok {
								t.Errorf("the reference has no %s", q.Name)
							}
							// Attention does not depend on the key's bias: its gradient is 0 but for rounding, which AdamW
							// scales up to full steps. Only float64 has enough digits to be compared there.
							if e.dtype == tensor.F64 || !strings.HasSuffix(q.Name, "key.bias") {
								nearDigest(t, side.name+" "+q.Name, q.Value(), want, e.weights)
							}
							n++
						}
					}
					if n != len(side.want) {
						t.Errorf("%s has %d parameters, the reference %d", side.name, n, len(side.want))
					}
				}
				if !r.Sinkhorn {
					for i, want := range [][2]float64{f.Centre, f.PatchCentre} {
						if i == 0 || !loss.Off(s.IBOT.Weight) {
							nearDigest(t, tr.terms[i].parts[0].Key+" centre", tr.terms[i].State()[0].Tensor, want, e.weights)
						}
					}
				}
			})
		}
	}
}

// fillWith is a source of weights that are a function of their parameter.
func fillWith(value func(p *nn.Param) *tensor.Tensor) func(n *Network) error {
	return func(n *Network) error {
		for _, p := range n.parts() {
			for _, q := range p.params.All() {
				x := value(q)
				for i := range x.Len() {
					q.Value().Set(i, x.At(i))
				}
			}
		}
		return nil
	}
}

// initialWave is initial of losses.py.
func initialWave(p *nn.Param) *tensor.Tensor {
	x := wave(p.Name, p.Shape...)
	one := p.Kind == nn.Gamma || p.Kind == nn.Gain || p.Kind == nn.NormGain && p.Name[len(p.Name)-6:] == "weight"
	for i, v := range x.F64() {
		x.F64()[i] = 0.3 * v
		if one {
			x.F64()[i] = 1 + 0.3*0.3*v
		}
	}
	return x
}
