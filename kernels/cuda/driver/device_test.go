//go:build linux && cgo && !cpu

package driver

import (
	"fmt"
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

// Every version of the kernel families that have several. A version that does not exist here, or not for a row, is the
// fastest that fits, so asking for more than there are only takes time.
func TestDeviceVersions(t *testing.T) {
	for v := 1; v <= 3; v++ {
		t.Run(fmt.Sprint("version ", v), func(t *testing.T) {
			b := backend(t, cuda.Versions{Gemm: v, Attention: v})
			optest.Run(t, b, optest.Types(tensor.BF16), optest.Only("Gemm", "Attention", "AttentionBackward"))
		})
	}
}

// The gradients of every backward operation against differences of its forward operation.
func TestDeviceGradients(t *testing.T) {
	optest.Gradients(t, backend(t, cuda.Versions{}), optest.Types(tensor.F32))
}

// A few rows of every operation, few enough to be run under compute-sanitizer.
func TestDeviceSample(t *testing.T) {
	optest.Run(t, backend(t, cuda.Versions{}), optest.Types(tensor.F32, tensor.BF16), optest.Each(2))
	optest.Run(t, backend(t, cuda.Versions{Gemm: 1, Attention: 1}), optest.Types(tensor.BF16), optest.Each(2), optest.Only("Gemm", "Attention", "AttentionBackward"))
}

// The same rows twice on one device give the same bits.
func TestDeviceRepeats(t *testing.T) {
	optest.Agree(backend(t, cuda.Versions{}), backend(t, cuda.Versions{}), func(g optest.Agreement) {
		if !g.Same {
			t.Errorf("%s/%s/%s: not the same bits: %v", g.Op, g.Type, g.Row, g.Err)
		}
	}, optest.Types(tensor.F32, tensor.BF16))
}

// Time measures what lies between its two events, and nothing before.
func TestDeviceTime(t *testing.T) {
	d, err := Open(0)
	if err != nil {
		t.Skip(err)
	}
	defer d.Close()
	const size = 64 << 20
	var at [2]uint64
	for i := range at {
		if at[i], err = d.Alloc(size); err != nil {
			t.Fatal(err)
		}
		defer d.Free(at[i])
	}
	copies := func(n int) float64 {
		took, err := d.(*Driver).Time(func() {
			for range n {
				if err := d.Copy(at[0], at[1], size); err != nil {
					t.Fatal(err)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return took.Seconds()
	}
	copies(3)
	if one, ten := copies(1), copies(10); one <= 0 || ten < 5*one || ten > 20*one {
		t.Errorf("1 copy of %d bytes takes %.3g s, 10 take %.3g s", size, one, ten)
	}
}

func BenchmarkDevice(b *testing.B) {
	optest.Benchmark(b, backend(b, cuda.Versions{}), optest.Types(tensor.BF16))
}
