//go:build linux && cgo && !cpu

package driver

import (
	"testing"

	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/optest"
	"github.com/dino-mx/dmx/tensor"
)

// backend opens the first GPU, or skips the test saying why there is none.
func backend(t testing.TB, v cuda.Versions) *cuda.Backend {
	t.Helper()
	d, err := Open(0)
	if err != nil {
		t.Skip(err)
	}
	b := cuda.New(d, v)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Without a driver everything is an error that says so; nothing starts, nothing crashes.
func TestWithoutDriver(t *testing.T) {
	n, err := Count()
	if err == nil {
		t.Skipf("there are %d GPUs", n)
	}
	if _, openErr := Open(0); openErr == nil || openErr.Error() != err.Error() {
		t.Errorf("Open: %v, Count: %v", openErr, err)
	}
}

// The table of operations on the device, every kernel version.
func TestDeviceOperations(t *testing.T) {
	optest.Run(t, backend(t, cuda.Versions{}), optest.Types(tensor.F32, tensor.BF16))
}

func TestDeviceFirstVersions(t *testing.T) {
	optest.Run(t, backend(t, cuda.Versions{Gemm: 1, Attention: 1}), optest.Types(tensor.BF16), optest.Only("Gemm", "Attention", "AttentionBackward"))
}

func BenchmarkDevice(b *testing.B) {
	optest.Benchmark(b, backend(b, cuda.Versions{}), optest.Types(tensor.BF16))
}
