package nn_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// wave is the formula of testdata/models.py: the fixtures store no weights and no inputs.
func wave(name string, n int, step float64) []float64 {
	start := 0
	for _, b := range []byte(name) {
		start += int(b)
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = math.Sin(float64(start%997) + step*float64(i+1))
	}
	return out
}

type fixtures struct {
	Cases []struct {
		Model         string
		Height, Width int
		Masked        bool
		Tokens        []float64
		Grads         map[string][2]float64
	}
	Heads []struct {
		WeightNorm bool `json:"weight_norm"`
		Logits     []float64
		Grads      map[string][2]float64
	}
}

func loadFixtures(t *testing.T) (f fixtures) {
	t.Helper()
	raw, err := os.ReadFile("testdata/models.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Cases) == 0 || len(f.Heads) == 0 {
		t.Fatal("testdata/models.json has no cases")
	}
	return f
}

// compareGrads holds norm and projection of every gradient to the fixture's.
func compareGrads(t *testing.T, ps *nn.Params, grads map[string][2]float64) {
	t.Helper()
	for name, want := range grads {
		p := ps.ByName(name)
		if p == nil {
			t.Errorf("the reference has a gradient of %s, which is no parameter here", name)
			continue
		}
		got := [2]float64{}
		probe := wave("probe", p.Shape.Len(), 1.3)
		for i, g := range values(p.Grad()) {
			got[0] += g * g
			got[1] += g * probe[i]
		}
		got[0] = math.Sqrt(got[0])
		if diff := cmp.Diff(want, got, approx(1e-9)); diff != "" {
			t.Errorf("%s: norm and projection of the gradient (-reference +here):\n%s", name, diff)
		}
	}
}

// Logits and gradients of the projection head against PyTorch, in float64.
func TestHeadFixtures(t *testing.T) {
	for _, tc := range loadFixtures(t).Heads {
		h, err := oracle.NewHead(nn.HeadConfig{In: 6, Hidden: 10, Bottleneck: 4, Prototypes: 9, Layers: 3, WeightNorm: tc.WeightNorm})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range h.Params.All() {
			for i, w := range wave(p.Name, p.Shape.Len(), 0.7) {
				p.Value().Set(i, 0.4*w)
			}
		}
		tape := oracle.NewTape()
		y := h.Forward(tape, tape.Const(tensor.FromF64(wave("tokens", 30, 0.9), 5, 6)))
		if diff := cmp.Diff(tc.Logits, values(y.Value), approx(1e-12)); diff != "" {
			t.Errorf("logits (-torch +here):\n%s", diff)
		}
		dy, _ := tape.GradBuffer(y)
		copy(dy.F64(), wave("loss", dy.Len(), 1.1))
		tape.Backward()
		compareGrads(t, h.Params, tc.Grads)
	}
}

// Outputs and gradients of every family against transformers, in float64.
func TestTransformersFixtures(t *testing.T) {
	for _, tc := range loadFixtures(t).Cases {
		t.Run(name(tc.Model, " ", tc.Height, "x", tc.Width), func(t *testing.T) {
			c := families()[tc.Model]
			c.Pooler = false
			const limit = 1e-10
			switch c.Family {
			case nn.FamilyViT:
				c.NormEps, c.Interpolation = 1e-12, nn.InterpolateSize
			case nn.FamilyDINOv3:
				c.NormEps = 1e-5
			default:
				c.MLPDim = 16
			}
			v, err := oracle.NewViT(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range v.Params.All() {
				w := wave(p.Name, p.Shape.Len(), 0.7)
				for i := range w {
					w[i] *= 0.4
					if p.Kind == nn.Gamma || p.Kind == nn.NormGain && p.Name[len(p.Name)-6:] == "weight" {
						w[i] = w[i]*0.5 + 1
					}
					p.Value().Set(i, w[i])
				}
			}
			x := wave("pixels", 2*2*tc.Height*tc.Width, 0.9)
			g := nn.Group{Images: tensor.FromF64(x, 2, 2, tc.Height, tc.Width)}
			if tc.Masked {
				n := tc.Height / 2 * (tc.Width / 2)
				g.Mask = make([]bool, 2*n)
				g.Mask[1], g.Mask[4], g.Mask[n+2] = true, true, true
			}
			tape := oracle.NewTape()
			groups := []nn.Group{g}
			v.Params.ZeroGrad()
			out := v.Forward(tape, layout(t, v, groups), groups, nn.Options{})
			if diff := cmp.Diff(tc.Tokens, values(out.Tokens.Value), approx(limit)); diff != "" {
				t.Fatalf("tokens (-transformers +here):\n%s", diff)
			}
			dy, _ := tape.GradBuffer(out.Tokens)
			copy(dy.F64(), wave("loss", dy.Len(), 1.1))
			tape.Backward()
			compareGrads(t, v.Params, tc.Grads)
		})
	}
}
