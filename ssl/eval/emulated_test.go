package eval

import (
	"context"
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// Features of the kernels that ship differ from f32 by at most twice what bf16 on the CPU differs, and a classifier on
// the emulated GPU votes as one on the CPU.
func TestEvaluationOnEmulatedGPU(t *testing.T) {
	if testing.Short() {
		t.Skip("interprets kernels")
	}
	const n = 10
	features := func(b kernels.Backend, dtype tensor.DType) *Features {
		build := nn.Builder{Backend: b, DType: dtype}
		m, err := build.NewViT(nn.ViTConfig{
			Family: nn.FamilyViT, Channels: 1, PatchSize: 2, ImageSize: 4, Dim: 8, Depth: 1, Heads: 2, MLPDim: 8, Act: kernels.GELU,
			NormEps: 1e-6, QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		m.Params.Init(b, 1, nil)
		f, err := Extract(context.Background(), build, m, newLoader(t, n, 4), n)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	host, gpu := backend(t), cuda.New(ptx.NewDriver(1<<26, 1), cuda.Versions{})
	exact, half, emulated := features(host, tensor.F32), features(host, tensor.BF16), features(gpu, tensor.BF16)
	for name, x := range map[string][3]*tensor.Tensor{
		"CLS":        {exact.CLS.X, half.CLS.X, emulated.CLS.X},
		"mean patch": {exact.MeanPatch.X, half.MeanPatch.X, emulated.MeanPatch.X},
	} {
		var lost, got float64
		for i := range x[0].Len() {
			lost = max(lost, math.Abs(x[1].At(i)-x[0].At(i)))
			got = max(got, math.Abs(x[2].At(i)-x[0].At(i)))
		}
		if !(got <= 2*lost) || lost == 0 {
			t.Errorf("%s: the emulated GPU differs by %g from f32, bf16 on the CPU by %g", name, got, lost)
		}
	}
	k := KNN{K: 3, Temperature: 0.07}
	onHost, err := k.Accuracy(host, emulated.CLS, exact.CLS)
	if err != nil {
		t.Fatal(err)
	}
	onGPU, err := k.Accuracy(gpu, emulated.CLS, exact.CLS)
	if err != nil || onGPU != onHost {
		t.Errorf("kNN accuracy %v on the emulated GPU, %v on the CPU; %v", onGPU, onHost, err)
	}
}
