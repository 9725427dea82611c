package hf

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// fixture is what a reference implementation computed: see testdata/make.py.
type fixture struct {
	t    *testing.T
	file *safetensors.File
}

func openFixture(t *testing.T, name string) fixture {
	t.Helper()
	f, err := safetensors.Open(filepath.Join("testdata", name, "io.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return fixture{t, f}
}

func (f fixture) has(name string) bool { _, ok := f.file.Lookup(name); return ok }

func (f fixture) get(name string) *tensor.Tensor {
	f.t.Helper()
	x, err := safetensors.ReadTensor(f.file, name)
	if err != nil {
		f.t.Fatal(err)
	}
	return x
}

func (f fixture) mask(name string) []bool {
	var out []bool
	if f.has(name) {
		for _, b := range f.get(name).Bytes() {
			out = append(out, b != 0)
		}
	}
	return out
}

// calls lists the forward calls of a fixture.
func (f fixture) calls() []string {
	var out []string
	for _, i := range f.file.Tensors() {
		if c, ok := strings.CutSuffix(i.Name, ".pixels"); ok {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return out
}

func newBuilder(t *testing.T, train bool) nn.Builder {
	b := cpu.New(cpu.Options{})
	t.Cleanup(b.Close)
	return nn.Builder{Backend: b, DType: tensor.F32, Train: train}
}

func loadModel(t *testing.T, b nn.Builder, path string, o OpenOptions) (*nn.ViT, *Checkpoint) {
	t.Helper()
	c, err := Open(filepath.Join("testdata", path), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	v, r, err := c.Build(b, Allow{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Loaded) == 0 {
		t.Fatal("nothing was loaded")
	}
	return v, c
}

// run is one forward pass; the tape stays alive for the caller.
func run(t *testing.T, b nn.Builder, v *nn.ViT, pixels *tensor.Tensor, mask []bool, o nn.Options) (*autograd.Tape, *nn.Output) {
	t.Helper()
	groups := []nn.Group{{Images: pixels, Mask: mask}}
	l, err := v.Layout(groups)
	if err != nil {
		t.Fatal(err)
	}
	tape := b.NewTape()
	return tape, v.Forward(tape, l, groups, o)
}

func maxError(got, want *tensor.Tensor) float64 {
	if got.Len() != want.Len() {
		return math.Inf(1)
	}
	worst := 0.0
	for i := range want.Len() {
		d := math.Abs(got.At(i) - want.At(i))
		if !(d <= worst) {
			worst = d
		}
	}
	return worst
}

func check(t *testing.T, what string, got, want *tensor.Tensor, bar float64) {
	t.Helper()
	e := maxError(got, want)
	keep(t, what, e)
	if !(e <= bar) {
		t.Errorf("%s: max abs error %.3g, bar %.0e (%s against %s)", what, e, bar, got, want)
	} else {
		t.Logf("%s: max abs error %.2g", what, e)
	}
}

var hfFixtures = []string{"vit", "vit-nobias", "dinov2", "dinov2-swiglu", "dinov2-registers", "dinov2-registers-swiglu", "dinov3", "dinov3-gated", "dinov3-gated-gelu", "dinov3-keybias"}

// Forward parity with transformers: native and other sizes, non-square, masks, hidden states, attentions, pooler.
func TestForwardParity(t *testing.T) {
	for _, name := range hfFixtures {
		t.Run(name, func(t *testing.T) {
			f, b := openFixture(t, name), newBuilder(t, false)
			v, _ := loadModel(t, b, name, OpenOptions{Pooler: true})
			for _, call := range f.calls() {
				pixels := f.get(call + ".pixels")
				if call == "train" {
					_, out := run(t, b, v, pixels, f.mask("train.mask"), nn.Options{})
					check(t, call, out.Tokens.Value, f.get("train.tokens"), 2e-5)
					continue
				}
				o := nn.Options{Hidden: f.has(call + ".hidden.0")}
				if o.Hidden {
					o.Attention = &nn.AttentionRequest{}
					for i := range v.Config.Depth {
						o.Attention.Blocks = append(o.Attention.Blocks, i)
					}
					want := f.get(call + ".attention.0")
					for i := range want.Dim(0) * want.Dim(2) {
						o.Attention.Queries = append(o.Attention.Queries, int32(i))
					}
				}
				tape, out := run(t, b, v, pixels, nil, o)
				check(t, call, out.Tokens.Value, f.get(call+".tokens"), 2e-5)
				for i, h := range out.Hidden {
					check(t, fmt.Sprintf("%s hidden state %d", call, i), h.Value, f.get(fmt.Sprintf("%s.hidden.%d", call, i)), 2e-5)
				}
				for i, p := range out.Attention {
					check(t, fmt.Sprintf("%s attention %d", call, i), p, queriesFirst(f.get(fmt.Sprintf("%s.attention.%d", call, i))), 2e-5)
				}
				if f.has(call+".pooler") && v.Pooler != nil {
					l := out.Layout
					cls := tape.A.New(tensor.F32, l.Crops, v.Config.Dim)
					for i, r := range l.CLSRows() {
						copy(cls.Rows(i, i+1).F32(), out.Tokens.Value.Rows(int(r), int(r)+1).F32())
					}
					check(t, call+" pooler", v.Pool(tape, tape.Const(cls)).Value, f.get(call+".pooler"), 2e-5)
				}
				if f.has(call + ".masked") {
					_, out := run(t, b, v, pixels, f.mask(call+".mask"), nn.Options{})
					check(t, call+" masked", out.Tokens.Value, f.get(call+".masked"), 2e-5)
				}
			}
		})
	}
}

// queriesFirst turns [B, H, T, T] into the [B·T, H, T] that the program returns.
func queriesFirst(x *tensor.Tensor) *tensor.Tensor {
	b, h, q, k := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	out := tensor.Zeros(tensor.F32, b*q, h, k)
	for i := range b {
		for j := range h {
			for r := range q {
				copy(out.F32()[((i*q+r)*h+j)*k:][:k], x.F32()[((i*h+j)*q+r)*k:][:k])
			}
		}
	}
	return out
}

// Every parameter's gradient of Σ tokens·cotangent against PyTorch.
func TestBackwardParity(t *testing.T) {
	for _, name := range hfFixtures {
		t.Run(name, func(t *testing.T) {
			f, b := openFixture(t, name), newBuilder(t, true)
			v, _ := loadModel(t, b, name, OpenOptions{})
			tape, out := run(t, b, v, f.get("train.pixels"), f.mask("train.mask"), nn.Options{})
			g, _ := tape.GradBuffer(out.Tokens)
			copy(g.F32(), f.get("train.cotangent").F32())
			tape.Backward()
			v.Params.FillMissing(b.Backend)
			worst := 0.0
			for _, p := range v.Params.All() {
				if p.Shape.Len() == 0 {
					continue
				}
				want, got := f.get("grad."+p.Name), p.Grad()
				norm, diff := 0.0, 0.0
				for i := range want.Len() {
					norm += want.At(i) * want.At(i)
					d := got.At(i) - want.At(i)
					diff += d * d
				}
				rel := math.Sqrt(diff) / math.Max(math.Sqrt(norm), 1e-6)
				// A key bias has no gradient but rounding: softmax does not see it.
				if math.Sqrt(norm) < 1e-4 {
					if math.Sqrt(diff) > 1e-4 {
						t.Errorf("%s: gradient off by %.3g where it is nearly zero", p.Name, math.Sqrt(diff))
					}
					continue
				}
				worst = max(worst, rel)
				if !(rel <= 1e-4) {
					t.Errorf("%s: relative gradient error %.3g, bar 1e-4", p.Name, rel)
				}
			}
			keep(t, "gradient", worst)
		})
	}
}
