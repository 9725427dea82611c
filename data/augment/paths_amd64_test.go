//go:build !noasm

package augment

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/tensor"
)

// onEveryPath runs a test with every set of kernels that this machine and build have.
func onEveryPath(t *testing.T, f func(*testing.T)) {
	has := useAVX2
	defer func() { useAVX2 = has }()
	useAVX2 = false
	t.Run("portable", f)
	if has {
		useAVX2 = true
		t.Run("avx2", f)
	}
}

// The assembly gives the bits of the portable code at sizes around every vector width, and writes nothing outside
// the lanes it may.
func TestAssembly(t *testing.T) {
	if !useAVX2 {
		t.Skip("this processor has no AVX2")
	}
	r := tensor.NewRand(3, 0, 0, 0)
	noise := func(n int) []uint8 {
		b := make([]uint8, n)
		for i := range b {
			b[i] = uint8(r.Uint32())
		}
		return b
	}
	compare := func(what string, width int, got, want, before []uint8, stride, rows int) {
		t.Helper()
		for i := range got {
			switch y, x := i/stride, i%stride; {
			case y < rows && x < width:
				if got[i] != want[i] {
					t.Fatalf("%s: row %d, lane %d is %d, expected %d", what, y, x, got[i], want[i])
				}
			case y >= rows || x >= padded(width):
				if got[i] != before[i] {
					t.Fatalf("%s: row %d, lane %d was written", what, y, x)
				}
			}
		}
	}
	for _, n := range []int{1, 7, 15, 16, 17, 31, 32, 33, 63, 96, 100} {
		stride := padded(n) + lanes
		for _, taps := range []int{1, 2, 5, 12} {
			w := make([]int32, taps)
			for i := range w {
				w[i] = int32(r.Norm() * float64(int(1)<<precision) * 1.3)
			}
			src, before := noise(taps*stride), noise(2*stride)
			want, got := append([]uint8(nil), before...), append([]uint8(nil), before...)
			weighRowPortable8(want, src, stride, n, w)
			weighRow8(got, src, stride, n, w)
			compare("weighRow8", n, got, want, before, stride, 1)
		}
		for _, rows := range []int{1, 3, 8, 9, 16, 29} {
			for _, radius := range []int{0, 1, 3} {
				src, before := noise(rows*stride), noise((rows+1)*stride)
				at := make([]int32, rows+2*radius+2)
				for i := range at {
					at[i] = int32(max(0, min(rows-1, i-radius-1)) * stride)
				}
				inner, outer := boxWeights(radius, float32(radius)+0.37)
				want, got := append([]uint8(nil), before...), append([]uint8(nil), before...)
				boxPortable8(want, stride, src, at, rows, n, radius, inner, outer)
				box8(got, stride, src, at, rows, n, radius, inner, outer)
				compare("box8", n, got, want, before, stride, rows)
			}
			src, before := noise(rows*stride), noise(n*padded(rows)+lanes)
			want, got := append([]uint8(nil), before...), append([]uint8(nil), before...)
			transposePortable8(want, padded(rows), src, stride, rows, n)
			transpose8(got, padded(rows), src, stride, rows, n)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("transpose8 of %d x %d: %s", rows, n, diff)
			}
		}
	}
}
