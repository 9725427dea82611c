package eval

import (
	"math"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// The features of the kernels that ship differ from f32 by at most twice what bf16 on the CPU differs, for every kind
// of features.
func TestExtractorOnEmulatedGPU(t *testing.T) {
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
	host, emulated := backend(t), cuda.New(ptx.NewDriver(1<<26, 1), cuda.Versions{})
	for _, kind := range []struct {
		features Kind
		layers   []int
	}{{CLS, nil}, {CLSMean, nil}, {Patches, []int{1, 2}}} {
		features := func(device kernels.Backend, dtype tensor.DType) []float32 {
			b := nn.Builder{Backend: device, DType: dtype}
			v, err := b.NewViT(c)
			if err != nil {
				t.Fatal(err)
			}
			v.Params.Init(device, 1, nil)
			e, err := NewExtractor(b, v, kind.features, kind.layers, data.ViewSpec{Height: 8, Width: 8})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			out, err := e.Run(images)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		exact, plain, gpu := features(host, tensor.F32), features(host, tensor.BF16), features(emulated, tensor.BF16)
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

func TestExtractorRefusesWhatTheModelDoesNotHave(t *testing.T) {
	b := nn.Builder{Backend: backend(t), DType: tensor.F32}
	v, err := b.NewViT(nn.ViTConfig{
		Family: nn.FamilyViT, Channels: 1, PatchSize: 4, ImageSize: 8, Dim: 32, Depth: 2, Heads: 1, MLPDim: 64,
		Act: kernels.GELU, NormEps: 1e-6, ProjBias: true, MLPBias: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	view := data.ViewSpec{Height: 8, Width: 8}
	for want, make := range map[string]func() (*Extractor, error){
		"layer 3: the model has blocks 1 to 2": func() (*Extractor, error) { return NewExtractor(b, v, CLS, []int{3}, view) },
		`features "all"`:                       func() (*Extractor, error) { return NewExtractor(b, v, "all", nil, view) },
		"smaller than one patch of 4":          func() (*Extractor, error) { return NewExtractor(b, v, CLS, nil, data.ViewSpec{Height: 8, Width: 3}) },
	} {
		if _, err := make(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}
