package ptx_test

import (
	"fmt"
	"testing"

	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/optest"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// Every operation of the CUDA backend, forward and gradient, executed from the shipped PTX under the sanitizer,
// on three schedules: a finding is a fault of the operation.
func TestOperations(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		t.Run(fmt.Sprint("schedule ", seed), func(t *testing.T) {
			t.Parallel()
			b := cuda.New(ptx.NewDriver(1<<30, seed), cuda.Versions{})
			optest.Run(t, b, optest.Small, optest.Types(tensor.F32, tensor.BF16))
		})
	}
}

// The plain versions of the kernel families that have a faster one.
func TestFirstVersions(t *testing.T) {
	b := cuda.New(ptx.NewDriver(1<<30, 1), cuda.Versions{Gemm: 1, Attention: 1})
	optest.Run(t, b, optest.Small, optest.Types(tensor.BF16), optest.Only("Gemm", "Attention", "AttentionBackward"))
}
