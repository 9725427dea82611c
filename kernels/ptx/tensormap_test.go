package ptx

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

func TestTensorMapEncoding(t *testing.T) {
	m := gpu.TensorMap{Addr: 0x7000_0000_1000, ElemBytes: 2, Cols: 1 << 32, Rows: 77, RowBytes: 1 << 34, BoxCols: 64, BoxRows: 256, Swizzle: 128}
	b, err := NewHopperDriver(1<<20, 1).TensorMap(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeTensorMap(b[:])
	if err != nil {
		t.Fatal(err)
	}
	want := &tensorMap{addr: m.Addr, elem: 2, swizzle: 128, rank: 2, dims: [5]int{1 << 32, 77}, strides: [5]int{2, 1 << 34}, box: [5]int{64, 256}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(tensorMap{})); diff != "" {
		t.Error(diff)
	}
	b[0]++
	if _, err := decodeTensorMap(b[:]); err == nil {
		t.Error("a map with another magic number was accepted")
	}
	m.Swizzle = 64
	if _, err := NewHopperDriver(1<<20, 1).TensorMap(m); err == nil {
		t.Error("a box wider than its swizzle was accepted")
	}
}

func TestTargets(t *testing.T) {
	const src = ".version 8.3\n.target %\n.address_size 64\n"
	for _, c := range []struct {
		target         string
		ampere, hopper bool
	}{{"sm_80", true, true}, {"sm_70", true, true}, {"sm_90", false, true}, {"sm_90a", false, true}, {"sm_80a", true, false}, {"sm_100", false, false}, {"x", false, false}} {
		for _, d := range []*Driver{NewDriver(1<<20, 1), NewHopperDriver(1<<20, 1)} {
			want := c.ampere
			if d.Info().Major == 9 {
				want = c.hopper
			}
			if _, err := d.Load("m", strings.Replace(src, "%", c.target, 1)); (err == nil) != want {
				t.Errorf("%s on compute capability %d.0: %v", c.target, d.Info().Major, err)
			}
		}
	}
}
