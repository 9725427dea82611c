package nn_test

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

func norm(a []float64) float64 {
	n := 0.0
	for _, x := range a {
		n += x * x
	}
	return math.Sqrt(n)
}

func minus(a, b []float64) []float64 {
	d := make([]float64, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	return d
}

// whole is one step of a family with everything random switched on.
func whole(t *testing.T, b nn.Builder, c nn.ViTConfig) [][]float64 {
	t.Helper()
	return wholeWith(t, b, c, func(*nn.ViT) {})
}

// wholeWith changes the model first.
func wholeWith(t *testing.T, b nn.Builder, c nn.ViTConfig, change func(*nn.ViT)) [][]float64 {
	t.Helper()
	c.DropPath = nn.DropPathConfig{Rate: 0.4}
	c.RoPE.Rescale = 2
	v := newModel(t, b, c)
	withoutPooler(v)
	change(v)
	groups := crops(c)
	return step(t, b, v, groups, nn.Options{
		Rows: layout(t, v, groups).CLSRows(), Draw: nn.Draw{Train: true, Seed: 9, Step: 4},
	})
}

// The CPU backend's tokens and gradients of a whole model against the float64 oracle.
func TestCPUAgainstOracle(t *testing.T) {
	be := cpu.New(cpu.Options{})
	defer be.Close()
	for name, c := range families() {
		want := whole(t, oracle, c)
		got := whole(t, nn.Builder{Backend: be, DType: tensor.F32, Train: true}, c)
		if d := norm(minus(got[0], want[0])) / norm(want[0]); !(d <= 1e-5) {
			t.Errorf("%s: tokens are off by %.2g of their norm", name, d)
		}
		// The gradient of a key bias is zero but for rounding: the softmax does not see it. So a gradient is held
		// to the largest one too.
		largest := 0.0
		for _, g := range want[1:] {
			largest = max(largest, norm(g))
		}
		for i := 1; i < len(want); i++ {
			if d := norm(minus(got[i], want[i])); !(d <= 1e-3*norm(want[i])+1e-6*largest) {
				t.Errorf("%s: gradient %d is off by %.2g of %.2g", name, i, d, norm(want[i]))
			}
		}
	}
}

// The number of threads changes no bit.
func TestThreadsChangeNoBit(t *testing.T) {
	var want [][]float64
	for _, threads := range []int{1, 2, 4} {
		be := cpu.New(cpu.Options{Threads: threads})
		got := whole(t, nn.Builder{Backend: be, DType: tensor.F32, Train: true}, families()["dinov2 with registers"])
		be.Close()
		if want == nil {
			want = got
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d threads:\n%s", threads, diff)
		}
	}
}

// A bf16 model is held to what rounding its weights alone costs, computed in f32. Every product of the model
// rounds its input and its output as well, three roundings for one: √3 of that, with a factor of two to spare for
// the tokens and three for the gradients.
func TestBF16Precision(t *testing.T) {
	single := nn.Builder{Backend: ref.New(), DType: tensor.F32, Train: true}
	half := nn.Builder{Backend: ref.New(), DType: tensor.BF16, Train: true}
	for name, c := range families() {
		c.Dim, c.Heads, c.MLPDim = 32, 2, 64
		want, got := whole(t, single, c), whole(t, half, c)
		rounded := wholeWith(t, single, c, func(v *nn.ViT) {
			for _, p := range v.Params.All() {
				for i, x := range p.Value().F32() {
					p.Value().F32()[i] = tensor.FromBF16(tensor.ToBF16(x))
				}
			}
		})
		check := func(what string, want, got, rounded []float64, factor float64) {
			plain, ours := norm(minus(rounded, want)), norm(minus(got, want))
			if !(ours <= factor*math.Sqrt(3)*plain) {
				t.Errorf("%s: %s are off by %.2g of %.2g, rounding the weights by %.2g", name, what, ours, norm(want), plain)
			}
		}
		check("tokens", want[0], got[0], rounded[0], 2)
		check("gradients", slices.Concat(want[1:]...), slices.Concat(got[1:]...), slices.Concat(rounded[1:]...), 3)
	}
}
