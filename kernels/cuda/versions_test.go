package cuda_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/drivertest"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/tensor"
)

// recorder is a device of a given compute capability that computes nothing and notes the kernels that it is given.
type recorder struct {
	*drivertest.Dry
	major int
	names []string
}

func (r *recorder) Info() gpu.Info {
	i := r.Dry.Info()
	i.Major, i.SMs, i.SharedPerBlock = r.major, 132, 227<<10
	return i
}

func (r *recorder) Launch(l *gpu.Launch) error {
	r.names = append(r.names, l.Name)
	return nil
}

// launched lists the kernels of operations that every family has a newer version of.
func launched(t *testing.T, major int, use func(b *cuda.Backend)) []string {
	t.Helper()
	r := &recorder{Dry: drivertest.NewDry(1 << 30), major: major}
	b := cuda.New(r, cuda.Versions{})
	use(b)
	x := func(shape ...int) *tensor.Tensor {
		y, err := tensor.New(b.Allocator(), tensor.BF16, shape...)
		if err != nil {
			t.Fatal(err)
		}
		return y
	}
	b.Gemm(kernels.Gemm{M: 256, N: 256, K: 256, Out: x(256, 256), A: x(256, 256), B: x(256, 256), TransB: true})
	starts, err := kernels.FromHost(b, tensor.FromI32([]int32{0, 64}, 2))
	if err != nil {
		t.Fatal(err)
	}
	b.Attention(kernels.Attention{Out: x(64, 64), QKV: x(64, 192), Heads: 1, Scale: 1,
		Seqs: kernels.Sequences{Starts: starts, Host: []int32{0, 64}, MaxLen: 64}})
	b.ActForward(x(64, 64), x(64, 64), kernels.GELU)
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	return r.names
}

// Newest names the versions that a backend chooses by itself, on every device, and each is newer than version 1.
func TestNewest(t *testing.T) {
	for _, major := range []int{8, 9, 10} {
		want := launched(t, major, func(*cuda.Backend) {})
		got := launched(t, major, func(b *cuda.Backend) { b.Use(b.Newest()) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("compute capability %d.0: kernels of the newest version (-chosen +Newest):\n%s", major, diff)
		}
		old := launched(t, major, func(b *cuda.Backend) { b.Use(cuda.Versions{Gemm: 1, Attention: 1, Movers: 1}) })
		for i := range old {
			if old[i] == got[i] {
				t.Errorf("compute capability %d.0: %s is version 1 and the newest", major, old[i])
			}
		}
	}
}
