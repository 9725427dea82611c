package ptx_test

import (
	"testing"

	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/optest"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// The tensor-core kernels on shapes around the edges of their tiles.
func TestTiles(t *testing.T) {
	b := cuda.New(ptx.NewDriver(1<<30, 1), cuda.Versions{})
	optest.Run(t, b, optest.MaxWork(20_000_000), optest.Types(tensor.BF16), optest.Only("Gemm", "Attention", "AttentionBackward"))
}
