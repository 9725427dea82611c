package main

import (
	"math"
	"testing"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/device"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// The features of the kernels that ship differ from f32 by at most twice what bf16 on the CPU differs, for every kind
// of features.
func TestEmbedOnEmulatedGPU(t *testing.T) {
	if testing.Short() {
		t.Skip("interprets kernels")
	}
	c := nn.ViTConfig{
		Family: nn.FamilyViT, Channels: 1, PatchSize: 4, ImageSize: 8, Dim: 32, Depth: 2, Heads: 1, MLPDim: 64,
		Act: kernels.GELU, NormEps: 1e-6, QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true,
	}
	images := tensor.Zeros(tensor.F32, 2, 1, 8, 8)
	r := tensor.NewRand(4, 0, 0, 7)
	for i := range images.F32() {
		images.F32()[i] = float32(r.Norm())
	}
	for _, kind := range []struct {
		features string
		layers   []int
	}{{"cls", nil}, {"cls+mean", nil}, {"patches", []int{1, 2}}} {
		features := func(name string, dtype tensor.DType) []float32 {
			d, err := device.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			b := nn.Builder{Backend: d.Backend, DType: dtype}
			v, err := b.NewViT(c)
			if err != nil {
				t.Fatal(err)
			}
			v.Params.Init(d.Backend, 1, nil)
			e, err := newExtractor(b, v, kind.features, kind.layers, data.View{Height: 8, Width: 8})
			if err != nil {
				t.Fatal(err)
			}
			out, err := e.run(images)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		exact, plain, gpu := features("cpu", tensor.F32), features("cpu", tensor.BF16), features("emulated-cuda", tensor.BF16)
		var lost, got float64
		for i, x := range exact {
			lost = max(lost, math.Abs(float64(plain[i]-x)))
			got = max(got, math.Abs(float64(gpu[i]-x)))
		}
		if !(got <= 2*lost) || lost == 0 {
			t.Errorf("%s: the emulated GPU differs by %g from f32, bf16 on the CPU by %g", kind.features, got, lost)
		}
	}
}
