package ssl

import (
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// A DINOv2 recipe trains on the emulated GPU, through the shipped PTX and under the sanitizer, and its losses
// agree with the CPU's: they differ from an f32 run by at most twice what a bf16 run on the CPU differs. The
// sizes use the tensor-core kernels: head size 32, dimensions in multiples of 8.
func TestEmulatedGPUTrainsLikeCPU(t *testing.T) {
	s := micro()
	s.Backbone.Dim, s.Backbone.Heads, s.Backbone.MLPDim = 64, 2, 128
	s.DINO.Head.Hidden, s.DINO.Head.Bottleneck, s.DINO.Head.Prototypes = 64, 32, 64
	s.Targets.Sinkhorn = true
	s.Watch.Every = 0
	const steps = 5
	run := func(b kernels.Backend, dtype tensor.DType) [steps][]float64 {
		tr, err := newTrainer(b, dtype, s)
		if err != nil {
			t.Fatal(err)
		}
		var out [steps][]float64
		for i := range steps {
			m, err := tr.Step(batches(&s, i))
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Sync(); err != nil {
				t.Fatal(err)
			}
			out[i] = []float64{m.Loss, m.Of("dino_global"), m.Of("dino_local"), m.Of("ibot"), m.Of("koleo")}
		}
		return out
	}
	exact := run(newCPU(t, 1), tensor.F32)
	plain := run(newCPU(t, 1), tensor.BF16)
	gpu := run(cuda.New(ptx.NewDriver(1<<30, 1), cuda.Versions{}), tensor.BF16)
	// What bf16 loses is measured over all steps of a part: a single difference may vanish by chance.
	for part, name := range []string{"loss", "dino global", "dino local", "ibot", "koleo"} {
		var lossCPU, lossGPU float64
		for i := range steps {
			lossCPU = max(lossCPU, math.Abs(plain[i][part]-exact[i][part]))
			lossGPU = max(lossGPU, math.Abs(gpu[i][part]-exact[i][part]))
		}
		t.Logf("%s: f32 %.5f, bf16 on the CPU differs by %.2g, on the emulated GPU by %.2g", name, exact[steps-1][part], lossCPU, lossGPU)
		if !(lossGPU <= 2*lossCPU) {
			t.Errorf("%s: the emulated GPU differs by %g from f32, bf16 on the CPU by %g", name, lossGPU, lossCPU)
		}
	}
}
