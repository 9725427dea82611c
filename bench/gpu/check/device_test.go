package check

import (
	"flag"
	"strconv"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/driver"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/ptx"
)

// emulated is the device that needs no GPU.
const emulated = "emulated-cuda"

var device = flag.String("device", emulated, "what to check: cuda:N, or emulated-cuda, which stands in for it at a fraction of the cases")

// real tells whether there is a GPU to check.
func real() bool { return *device != emulated }

// memory of an emulated device, in bytes.
const memory = 1 << 30

// open is the driver of the device under test.
func open(t *testing.T) gpu.Driver {
	t.Helper()
	if !real() {
		return ptx.NewDriver(memory, 2)
	}
	n, err := strconv.Atoi(strings.TrimPrefix(*device, "cuda:"))
	if err != nil {
		t.Fatalf("-device %s: expected cuda:N or %s", *device, emulated)
	}
	d, err := driver.Open(n)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// onDevice is a backend of the device under test.
func onDevice(t *testing.T, v cuda.Versions) *cuda.Backend {
	t.Helper()
	return backend(t, open(t), v)
}

func backend(t *testing.T, d gpu.Driver, v cuda.Versions) *cuda.Backend {
	t.Helper()
	b := cuda.New(d, v)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// launches is a driver that notes which kernels it was asked for.
type launches struct {
	gpu.Driver
	names map[string]bool
}

func (l *launches) Launch(x *gpu.Launch) error {
	l.names[x.Name] = true
	return l.Driver.Launch(x)
}
