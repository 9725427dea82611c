package hf

import (
	"testing"

	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// A model is loaded onto a GPU without a read of memory that was not written, and computes there what it computes on
// the CPU in bf16, up to twice what bf16 loses. The gated MLP with GELU has operations of its own.
func TestLoadOnEmulatedGPU(t *testing.T) {
	if testing.Short() {
		t.Skip("interprets kernels")
	}
	for _, name := range []string{"dinov2", "dinov3-gated-gelu"} {
		t.Run(name, func(t *testing.T) {
			c, err := Open("testdata/"+name, OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			pixels := tensor.Zeros(tensor.F32, 1, 3, 32, 32)
			r := tensor.NewRand(8, 0, 0, 1)
			for i := range pixels.F32() {
				pixels.F32()[i] = float32(r.Norm())
			}
			cls := func(b nn.Builder) []float64 {
				v, _, err := c.BuildViews(b, Allow{})
				if err != nil {
					t.Fatal(err)
				}
				images := pixels
				if d := b.Backend.Allocator(); d.Device().Kind != tensor.CPU {
					if images, err = tensor.New(d, tensor.F32, pixels.Shape()...); err != nil {
						t.Fatal(err)
					}
					b.Backend.Upload(images, pixels)
				}
				groups := []nn.Group{{Images: images}}
				l, err := v.Layout(groups)
				if err != nil {
					t.Fatal(err)
				}
				tape := b.NewTape()
				var out *tensor.Tensor
				tape.NoGrad(func() { out = v.Forward(tape, l, groups, nn.Options{Rows: l.CLSRows()}).Tokens.Value })
				host := tensor.Zeros(out.DType(), out.Shape()...)
				b.Backend.Download(host, out)
				if err := b.Backend.Sync(); err != nil {
					t.Fatal(err)
				}
				var values []float64
				for i := range host.Len() {
					values = append(values, host.At(i))
				}
				return values
			}
			cpu := newBuilder(t, false)
			exact := cls(cpu)
			cpu.DType = tensor.BF16
			plain := cls(cpu)
			got := cls(nn.Builder{Backend: cuda.New(ptx.NewDriver(1<<26, 1), cuda.Versions{}), DType: tensor.BF16})
			var lost, off float64
			for i, x := range exact {
				lost, off = max(lost, abs(plain[i]-x)), max(off, abs(got[i]-x))
			}
			if !(off <= 2*lost) || lost == 0 {
				t.Errorf("off by %.3g, bf16 on the CPU by %.3g", off, lost)
			}
		})
	}
}

func abs(x float64) float64 { return max(x, -x) }
