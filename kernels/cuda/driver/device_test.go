//go:build linux && cgo && !cpu

package driver

import (
	"flag"
	"fmt"
	"testing"
	"time"

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

// budget ends the survey early, with a sample of everything.
var budget = flag.Duration("budget", 0, "time for TestDeviceSurvey; 0 runs every row")

// products are the operations whose kernels come in several versions.
var products = []string{"Gemm", "Attention", "AttentionBackward"}

// movers are the operations with a second version of kernels that move bytes.
var movers = []string{
	"ActForward", "ActBackward", "RoPE", "Patchify", "RowLogSumExp", "ColSumExp", "CrossEntropy", "ColMoments", "GradSquares",
}

// Every row of the table on the device against the float64 oracle: the fastest kernels twice, for the same bits, and
// each older version of the product and of attention. The oracle is evaluated once for all of them.
func TestDeviceSurvey(t *testing.T) {
	fastest := backend(t, cuda.Versions{})
	subjects := []optest.Subject{{Name: "fastest", Backend: fastest, Repeat: true}}
	newest := fastest.Newest()
	for v := 1; v < max(newest.Gemm, newest.Attention); v++ {
		subjects = append(subjects, optest.Subject{
			Name: fmt.Sprint("version ", v), Backend: backend(t, cuda.Versions{Gemm: v, Attention: v}), Ops: products,
		})
	}
	subjects = append(subjects, optest.Subject{Name: "movers version 1", Backend: backend(t, cuda.Versions{Movers: 1}), Ops: movers})
	start, runs, failed := time.Now(), 0, 0
	optest.Survey(subjects, func(f optest.Finding) bool {
		runs++
		if f.Err != nil {
			failed++
			t.Errorf("%s: %s/%s/%s: %v", f.Subject, f.Op, f.Type, f.Row, f.Err)
		}
		return *budget == 0 || time.Since(start) < *budget
	}, optest.Types(tensor.F32, tensor.BF16))
	t.Logf("%d of %d runs in %.0f s, %d failed", runs, optest.SurveySize(subjects), time.Since(start).Seconds(), failed)
	if runs == 0 {
		t.Error("nothing ran")
	}
}

// The gradients of every backward operation against differences of its forward operation.
func TestDeviceGradients(t *testing.T) {
	optest.Gradients(t, backend(t, cuda.Versions{}), optest.Types(tensor.F32))
}

// A few rows of every operation, few enough to be run under compute-sanitizer.
func TestDeviceSample(t *testing.T) {
	optest.Run(t, backend(t, cuda.Versions{}), optest.Types(tensor.F32, tensor.BF16), optest.Each(2))
	optest.Run(t, backend(t, cuda.Versions{Gemm: 1, Attention: 1}), optest.Types(tensor.BF16), optest.Each(2), optest.Only(products...))
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
