package ssl_test

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/ssl/mask"
	"github.com/dino-mx/dmx/tensor"
)

// A recipe with the DINO and iBOT losses is built in code and trained for five steps on noise.
func Example() {
	const steps = 5
	settings := ssl.Settings{
		Seed:  1,
		Batch: 4, // images of a step
		// Two global crops of 8 x 8 pixels, which the teacher sees, and two local ones of 4 x 4.
		Views: ssl.MultiCrop(8, 2, 4),
		Backbone: nn.ViTConfig{
			Family: nn.FamilyDINOv2, Channels: 1, PatchSize: 2, ImageSize: 8, Dim: 16, Depth: 2, Heads: 2, MLPDim: 32,
			Act: kernels.GELU, NormEps: 1e-6, QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true,
			LayerScale: true, LayerScaleInit: 1, MaskToken: true,
		},
		DINO: ssl.DINO{
			Weight: optim.Constant(1),
			Head:   nn.HeadConfig{Hidden: 32, Bottleneck: 8, Prototypes: 64, Layers: 3, WeightNorm: true},
		},
		// Half of the global crops lose 10 to 50 % of their patches, which the student is to predict.
		IBOT:    ssl.IBOT{Weight: optim.Constant(1), Mask: mask.Settings{Probability: .5, Ratio: [2]float64{.1, .5}}},
		Targets: loss.Targets{StudentTemp: .1, CentreMomentum: .9},
		Schedules: ssl.Schedules{
			LR:          optim.Cosine{Base: 1e-3, Final: 1e-5, Total: steps},
			WeightDecay: optim.Constant(.04),
			Momentum:    optim.Cosine{Base: .99, Final: 1, Total: steps},
			TeacherTemp: optim.Constant(.04),
		},
		Optim: optim.Options{Beta1: .9, Beta2: .999, Eps: 1e-8, Clip: optim.ClipGlobal, MaxNorm: 3},
	}

	backend := cpu.New(cpu.Options{})
	defer backend.Close()
	models, err := ssl.Build(backend, tensor.F32, settings, ssl.Sources{}) // random weights
	if err != nil {
		fmt.Println(err)
		return
	}
	trainer, err := ssl.NewTrainer(models)
	if err != nil {
		fmt.Println(err)
		return
	}
	noise := tensor.NewRand(2, 0, 0, 0)
	for range steps {
		var batch ssl.Batch
		for _, v := range settings.Views {
			x := tensor.Zeros(tensor.F32, v.Count*settings.Batch, settings.Backbone.Channels, v.Height, v.Width)
			for i := range x.F32() {
				x.F32()[i] = float32(noise.Norm())
			}
			batch.Views = append(batch.Views, x)
		}
		m, err := trainer.Step(batch)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("step %d: learning rate %.1e, loss %.1f\n", m.Step, m.LR, m.Loss)
	}
	// Output:
	// step 0: learning rate 1.0e-03, loss 5.8
	// step 1: learning rate 9.1e-04, loss 11.7
	// step 2: learning rate 6.6e-04, loss 9.1
	// step 3: learning rate 3.5e-04, loss 6.9
	// step 4: learning rate 1.0e-04, loss 5.7
}
