package kernels_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/drivertest"
	"github.com/dino-mx/dmx/tensor"
)

// What goes to a device and comes back is the same; a tensor that is on the host already is not copied back.
func TestHostAndBack(t *testing.T) {
	device := cuda.New(drivertest.NewHost(1<<16), cuda.Versions{})
	for _, b := range []kernels.Backend{cpu.New(cpu.Options{Threads: 1}), device} {
		host := tensor.FromF32([]float32{1, -2, 3, 4, 5, 6}, 2, 3)
		x, err := kernels.FromHost(b, host)
		if err != nil {
			t.Fatal(err)
		}
		arena := tensor.NewArena(b.Allocator())
		y := kernels.FromHostIn(arena, b, host)
		host.F32()[0] = 7
		for _, x := range []*tensor.Tensor{x, y} {
			back := kernels.ToHost(b, x)
			if diff := cmp.Diff([]float32{1, -2, 3, 4, 5, 6}, back.F32()); diff != "" || !back.Shape().Equal(host.Shape()) {
				t.Errorf("%s: shape %s, %s", b.Name(), back.Shape(), diff)
			}
			if same := back == x; same != kernels.OnHost(b) {
				t.Errorf("%s: ToHost returned the tensor itself: %v, OnHost %v", b.Name(), same, kernels.OnHost(b))
			}
		}
		if err := b.Sync(); err != nil {
			t.Error(err)
		}
	}
	_, err := kernels.FromHost(device, tensor.Zeros(tensor.F32, 1<<16))
	if oom := new(tensor.OutOfMemory); !errors.As(err, &oom) || oom.Requested != 4<<16 {
		t.Errorf("FromHost beyond the device's memory: %v", err)
	}
}
