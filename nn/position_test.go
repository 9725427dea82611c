package nn_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/nn"
)

func near(limit float64) cmp.Option {
	return cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= limit })
}

// line resamples a column vector: a grid of width 1 cannot be had, so the values are constant along rows, whose
// weights sum to 1.
func line(rule nn.Interpolation, in []float64, g int) []float64 {
	m := len(in)
	w := nn.ResampleMatrix(rule, m, g, m)
	out := make([]float64, g)
	for i := range out {
		for y, v := range in {
			for x := 0; x < m; x++ {
				out[i] += float64(w[(i*m)*m*m+y*m+x]) * v
			}
		}
	}
	return out
}

// Values of PyTorch's interpolate for the vector 0, 1, 4, 9.
func TestResampleLine(t *testing.T) {
	cases := []struct {
		rule nn.Interpolation
		want []float64
	}{
		{nn.InterpolateSize, []float64{0.218750, 6.781250}},
		{nn.InterpolateSize, []float64{0.091435, 2.125000, 8.334491}},
		{nn.InterpolateSize, []float64{0, 1, 4, 9}},
		{nn.InterpolateSize, []float64{-0.086806, 0.218750, 1.430556, 3.152778, 6.781250, 9.434028}},
		{nn.InterpolateAntialias, []float64{0.603306, 6.082645}},
		{nn.InterpolateAntialias, []float64{0.075515, 2.359195, 7.935927}},
		{nn.InterpolateAntialias, []float64{0, 1, 4, 9}},
		{nn.InterpolateAntialias, []float64{-0.065789, 0.294118, 1.361111, 3.361111, 6.823529, 9.328947}},
	}
	for _, c := range cases {
		got := line(c.rule, []float64{0, 1, 4, 9}, len(c.want))
		if diff := cmp.Diff(c.want, got, near(2e-6)); diff != "" {
			t.Errorf("rule %d to %d (-want +got):\n%s", c.rule, len(c.want), diff)
		}
	}
}

// Weights of single rows of PyTorch's kernels at the size of DINOv2's table.
func TestResampleWeights(t *testing.T) {
	cases := []struct {
		rule nn.Interpolation
		row  int
		taps map[int]float64
	}{
		{nn.InterpolateSize, 0, map[int]float64{0: -0.0581589 + 0.3842850, 1: 0.7849045, 2: -0.1110306}},
		{nn.InterpolateSize, 1, map[int]float64{1: -0.0007095, 2: 0.0248642, 3: 0.9978409, 4: -0.0219955}},
		{nn.InterpolateOffset, 1, map[int]float64{1: -0.0019801, 2: 0.0435933, 3: 0.9939125, 4: -0.0355257}},
		{nn.InterpolateAntialias, 0, map[int]float64{
			0: 0.3871864, 1: 0.4414507, 2: 0.2092562, 3: -0.0030565, 4: -0.0318170, 5: -0.0030198}},
		{nn.InterpolateAntialias, 1, map[int]float64{
			0: -0.0311431, 1: 0.0486024, 2: 0.2873362, 3: 0.4276806, 4: 0.2720669, 5: 0.0375228, 6: -0.0315834, 7: -0.0104824}},
	}
	const m, g = 37, 16
	for _, c := range cases {
		w := nn.ResampleMatrix(c.rule, m, g, g)
		for y := 0; y < m; y++ {
			got := 0.0
			for x := 0; x < m; x++ {
				got += float64(w[(c.row*g+5)*m*m+y*m+x])
			}
			if math.Abs(got-c.taps[y]) > 1e-6 {
				t.Errorf("rule %d row %d tap %d: %.7f, want %.7f", c.rule, c.row, y, got, c.taps[y])
			}
		}
	}
}
