package ref

import (
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Rounding once and rounding by way of f32 differ beside a tie of bf16; the oracle must round once.
func TestRoundBF16(t *testing.T) {
	tests := []struct {
		name string
		v    float64
		want uint16
	}{
		{"above a tie that f32 would hide", 1 + 0x1p-8 + 0x1p-40, 0x3f81},
		{"below a tie that f32 would hide", 1 + 3*0x1p-8 - 0x1p-40, 0x3f81},
		{"tie to even, down", 1 + 0x1p-8, 0x3f80},
		{"tie to even, up", 1 + 3*0x1p-8, 0x3f82},
		{"negative, above a tie", -1 - 0x1p-8 - 0x1p-40, 0xbf81},
		{"overflow", 1e39, 0x7f80},
		{"NaN", math.NaN(), 0x7fc0},
	}
	for _, tt := range tests {
		if got := roundBF16(tt.v); got != tt.want {
			t.Errorf("%s: roundBF16(%v) = %#x, want %#x", tt.name, tt.v, got, tt.want)
		}
	}
}

// Finite differences call the oracle many thousands of times, so its scratch memory must be reused.
func TestNoAllocationInTheSteadyState(t *testing.T) {
	b := New()
	x, w, y := tensor.Zeros(tensor.F32, 8, 16), tensor.Zeros(tensor.F32, 4, 16), tensor.Zeros(tensor.F32, 8, 4)
	mean, gamma := tensor.Zeros(tensor.F32, 8), tensor.Zeros(tensor.F32, 16)
	step := func() {
		b.Gemm(kernels.Gemm{M: 8, N: 4, K: 16, A: x, B: w, TransB: true, Out: y, Act: kernels.GELU})
		b.LayerNorm(x, mean, mean, x, gamma, gamma, 1e-6)
	}
	step()
	if n := testing.AllocsPerRun(10, step); n != 0 {
		t.Errorf("a step allocates %v times", n)
	}
}
