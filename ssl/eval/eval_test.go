package eval

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

func backend(t testing.TB) kernels.Backend {
	b := cpu.New(cpu.Options{Threads: 2})
	t.Cleanup(b.Close)
	return b
}

// clusters is make of testdata/reference.py.
func clusters(n int, start float64) Set {
	const dim, classes = 6, 4
	s := newSet(n, dim)
	for i := range n {
		s.Labels[i] = int32((i*7 + i/5) % classes)
		for j := range dim {
			noise := math.Sin(start+12.9898*float64(i+1)+78.233*float64(j+1)) * 43758.5453
			noise -= math.Floor(noise)
			s.X.F32()[i*dim+j] = float32(float64(j+1)*(math.Cos(float64(s.Labels[i])*float64(j+1))+2.2*(noise-0.5)) + 0.5)
		}
	}
	return s
}

type reference struct {
	KNN []struct {
		K       int
		Classes []int32
	}
	Probe []struct {
		C       float64
		Weight  [][]float64
		Bias    []float64
		Classes []int32
	}
}

func load(t testing.TB) (r reference) {
	t.Helper()
	text, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.KNN) != 3 || len(r.Probe) != 2 {
		t.Fatal("testdata/reference.json is incomplete")
	}
	return r
}

func TestKNNAgainstReference(t *testing.T) {
	b := backend(t)
	bank, queries := clusters(160, 0), clusters(60, 1)
	for _, want := range load(t).KNN {
		k := KNN{K: want.K, Temperature: .07}
		got, err := k.Classify(b, bank, queries.X)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Classes, got); diff != "" {
			t.Errorf("k %d (-want +got):\n%s", want.K, diff)
		}
		a, err := k.Accuracy(b, bank, queries)
		if err != nil || a != share(want.Classes, queries.Labels) {
			t.Errorf("k %d: accuracy %v, error %v", want.K, a, err)
		}
	}
}

// TestKNNTies: equal neighbours and equal votes are decided by order, also across the stretches of queries.
func TestKNNTies(t *testing.T) {
	b := backend(t)
	bank := newSet(6, 2)
	for i, label := range []int32{2, 1, -1, 1, 2, 0} {
		bank.X.F32()[2*i] = 1 // all rows are the same direction
		bank.Labels[i] = label
	}
	queries := newSet(queryRows+3, 2)
	for i := range queries.Labels {
		queries.X.F32()[2*i] = float32(i + 1)
	}
	for _, c := range []struct {
		k    int
		want int32
	}{{1, 2}, {2, 1}, {3, 1}, {4, 1}, {5, 1}} {
		got, err := KNN{K: c.k, Temperature: .07}.Classify(b, bank, queries.X)
		if err != nil {
			t.Fatal(err)
		}
		for i, g := range got {
			if g != c.want {
				t.Fatalf("k %d: query %d is of class %d, want %d", c.k, i, g, c.want)
			}
		}
	}
}

func TestKNNErrors(t *testing.T) {
	b := backend(t)
	bank := clusters(10, 0)
	none := clusters(4, 0)
	for i := range none.Labels {
		none.Labels[i] = -1
	}
	for _, c := range []struct {
		name          string
		k             KNN
		bank, queries Set
		want          string
	}{
		{"k", KNN{0, .07}, bank, bank, "k is 0"},
		{"temperature", KNN{1, 0}, bank, bank, "temperature is 0"},
		{"small bank", KNN{20, .07}, bank, bank, "10 labelled images"},
		{"no labels in the bank", KNN{1, .07}, none, bank, "0 labelled images"},
		{"no labelled query", KNN{1, .07}, bank, none, "no query has a label"},
		{"width", KNN{1, .07}, bank, newSet(3, 5), "5 features"},
	} {
		if _, err := c.k.Accuracy(b, c.bank, c.queries); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v", c.name, err)
		}
	}
}

func TestNearest(t *testing.T) {
	row := []float32{.1, .9, .3, .9, -1, .3, .3, float32(math.NaN()), .5}
	n := newNearest(5)
	for range 2 {
		n.fill(row)
		if diff := cmp.Diff([]int32{1, 3, 8, 2, 5}, n.index); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestProbeAgainstReference(t *testing.T) {
	b := backend(t)
	train, test := clusters(160, 0), clusters(60, 1)
	for _, want := range load(t).Probe {
		l, err := Probe{C: want.C}.Fit(b, train)
		if err != nil {
			t.Fatal(err)
		}
		if !l.Converged {
			t.Errorf("C %v: not converged after %d iterations", want.C, l.Iterations)
		}
		if diff := cmp.Diff(want.Classes, l.Classify(test.X)); diff != "" {
			t.Errorf("C %v: classes (-want +got):\n%s", want.C, diff)
		}
		for c := range want.Weight {
			for j, w := range want.Weight[c] {
				if d := math.Abs(l.Weight[c*l.Dim+j] - w); d > 1e-3 {
					t.Errorf("C %v: weight %d,%d is %v, want %v", want.C, c, j, l.Weight[c*l.Dim+j], w)
				}
			}
			// Intercepts are determined up to a common constant.
			if d := math.Abs((l.Bias[c] - l.Bias[0]) - (want.Bias[c] - want.Bias[0])); d > 1e-3 {
				t.Errorf("C %v: bias %d off by %v", want.C, c, d)
			}
		}
		a, err := l.Accuracy(test)
		if err != nil || a != share(want.Classes, test.Labels) {
			t.Errorf("C %v: accuracy %v, error %v", want.C, a, err)
		}
	}
}

// TestProbeConverges: the trained probe is no worse than neighbours, which an untrained one would be by far.
func TestProbeConverges(t *testing.T) {
	b := backend(t)
	train, test := clusters(160, 0), clusters(60, 1)
	l, err := Probe{C: 1}.Fit(b, train)
	if err != nil {
		t.Fatal(err)
	}
	linear, err := l.Accuracy(test)
	if err != nil {
		t.Fatal(err)
	}
	near, err := KNN{K: 5, Temperature: .07}.Accuracy(b, train, test)
	if err != nil {
		t.Fatal(err)
	}
	if linear < near-.01 {
		t.Errorf("linear %.3f, kNN %.3f", linear, near)
	}
}

func TestProbeErrors(t *testing.T) {
	b := backend(t)
	one := clusters(8, 0)
	for i := range one.Labels {
		one.Labels[i] = 0
	}
	none := clusters(8, 0)
	for i := range none.Labels {
		none.Labels[i] = -1
	}
	for _, c := range []struct {
		p    Probe
		s    Set
		want string
	}{{Probe{C: 1}, one, "1 class"}, {Probe{C: 1}, none, "no image has a label"}, {Probe{}, clusters(8, 0), "C is 0"}} {
		if _, err := c.p.Fit(b, c.s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}

// source is images of one level each.
type source struct{ n int }

func (s source) Len() int                { return s.n }
func (s source) Label(i int) (int, bool) { return i % 3, i%5 != 4 }
func (s source) ID(int) string           { return "image" }
func (s source) Classes() []string       { return nil }
func (s source) Channels() int           { return 1 }
func (s source) Decode(i int, into *data.Sample) error {
	m := &into.Image
	m.Reset(1, 4, 4, data.U8)
	for j := range m.U8 {
		m.U8[j] = uint8(11*i + j*j)
	}
	return nil
}

// plain hands the levels through.
type plain struct{}

func (plain) Views() []data.ViewSpec { return []data.ViewSpec{{Count: 1, Height: 4, Width: 4}} }
func (plain) Channels() int          { return 1 }
func (plain) Apply(s *data.Sample, _ data.Key, out [][]float32) error {
	m := &s.Image
	for i, v := range m.U8 {
		out[0][i] = float32(v) / 64
	}
	return nil
}

func newLoader(t testing.TB, n, batch int) *loader.Loader {
	l, err := loader.New(loader.Config{Source: source{n}, Transform: plain{}, BatchSize: batch, KeepLast: true, Epochs: 1, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// TestExtract: features do not depend on the batch, registers are left out of the mean, and an epoch is checked.
func TestExtract(t *testing.T) {
	b := backend(t)
	m, err := nn.Builder{Backend: b, DType: tensor.F32}.NewViT(nn.ViTConfig{
		Family: nn.FamilyDINOv2Registers, Channels: 1, PatchSize: 2, ImageSize: 4, Dim: 8, Depth: 1, Heads: 2, MLPDim: 8, Act: kernels.GELU,
		NormEps: 1e-6, QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true, Registers: 3, LayerScale: true, LayerScaleInit: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Params.Init(b, 1, nil)
	ctx := context.Background()
	const n = 11
	one, err := Extract(ctx, nn.Builder{Backend: b, DType: tensor.F32}, m, newLoader(t, n, 1), n)
	if err != nil {
		t.Fatal(err)
	}
	four, err := Extract(ctx, nn.Builder{Backend: b, DType: tensor.F32}, m, newLoader(t, n, 4), n)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int32{0, 1, 2, 0, -1, 2, 0, 1, 2, -1, 1}, four.CLS.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	for i := range one.CLS.X.Len() {
		if math.Abs(one.CLS.X.At(i)-four.CLS.X.At(i)) > 1e-5 || math.Abs(one.MeanPatch.X.At(i)-four.MeanPatch.X.At(i)) > 1e-5 {
			t.Fatalf("element %d depends on the batch size", i)
		}
	}
	// The mean by hand, for one image.
	tape := nn.Builder{Backend: b, DType: tensor.F32}.NewTape()
	x := tensor.Zeros(tensor.F32, 1, 1, 4, 4)
	for j := range 16 {
		x.F32()[j] = float32(uint8(11*7+j*j)) / 64
	}
	groups := []nn.Group{{Images: x}}
	layout, err := m.Layout(groups)
	if err != nil {
		t.Fatal(err)
	}
	tape.NoGrad(func() {
		tokens := m.Forward(tape, layout, groups, nn.Options{}).Tokens.Value
		for c := range 8 {
			mean := 0.0
			for p := range 4 {
				mean += tokens.At(int(layout.Row(0, 0, p))*8+c) / 4
			}
			if got := four.MeanPatch.X.At(7*8 + c); math.Abs(got-mean) > 1e-5 {
				t.Errorf("channel %d: mean %v, want %v", c, got, mean)
			}
			if got, want := four.CLS.X.At(7*8+c), tokens.At(c); math.Abs(got-want) > 1e-5 {
				t.Errorf("channel %d: CLS %v, want %v", c, got, want)
			}
		}
	})
	if _, err := Extract(ctx, nn.Builder{Backend: b, DType: tensor.F32}, m, newLoader(t, n, 4), n+1); err == nil || !strings.Contains(err.Error(), "11 of 12") {
		t.Errorf("too few images: error %v", err)
	}
	if _, err := Extract(ctx, nn.Builder{Backend: b, DType: tensor.F32}, m, newLoader(t, n, 4), n-1); err == nil || !strings.Contains(err.Error(), "more than 10") {
		t.Errorf("too many images: error %v", err)
	}
}

func TestPixels(t *testing.T) {
	s, err := Pixels(context.Background(), newLoader(t, 5, 2), 5)
	if err != nil {
		t.Fatal(err)
	}
	if s.X.Dim(0) != 5 || s.X.Dim(1) != 16 || s.X.At(3*16+2) != 37.0/64 || s.Labels[4] != -1 {
		t.Errorf("pixels %s, element %v, labels %v", s.X, s.X.At(3*16+2), s.Labels)
	}
}
