package optest

import (
	"testing"

	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/tensor"
)

func TestAgree(t *testing.T) {
	rows := 0
	Agree(ref.New(), ref.New(), func(g Agreement) {
		rows++
		if !g.Same || g.Err != nil || g.Difference != 0 || g.Share != 0 {
			t.Errorf("a backend disagrees with itself: %+v", g)
		}
	}, Only("Sum", "Gemm"), Each(3), Types(tensor.F32))
	if rows != 6 {
		t.Errorf("%d rows, want 3 of each operation", rows)
	}
}

// The last bit shows and is allowed; a wrong result is not.
func TestAgreeFindsFaults(t *testing.T) {
	Agree(ref.New(), lastBit{ref.New()}, func(g Agreement) {
		if g.Same || g.Err != nil || !(g.Difference > 0 && g.Difference < 1e-6) || !(g.Share > 0 && g.Share <= 1) {
			t.Errorf("last bit: %+v", g)
		}
	}, Only("Sum"), Types(tensor.F32), Each(1))
	Agree(ref.New(), off{ref.New()}, func(g Agreement) {
		if g.Same || g.Err == nil {
			t.Errorf("off by a half: %+v", g)
		}
	}, Only("Sum"), Types(tensor.F32), Each(1))
}

type off struct{ *ref.Backend }

func (b off) Sum(out, x *tensor.Tensor, scale float64, accumulate bool) {
	b.Backend.Sum(out, x, scale, accumulate)
	out.Set(0, out.At(0)+0.5)
}
