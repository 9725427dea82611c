package nn_test

import (
	"fmt"
	"log"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// tiny is a vision transformer of two blocks for grey images.
var tiny = nn.ViTConfig{
	Family: nn.FamilyDINOv2, Channels: 1, PatchSize: 7, ImageSize: 28, Dim: 32, Depth: 2, Heads: 2, MLPDim: 64,
	Act: kernels.GELU, NormEps: 1e-6, LayerScale: true, LayerScaleInit: 1, MaskToken: true,
	QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true,
}

// Crops of several sizes go through a model in one packed token matrix.
func ExampleViT_Forward() {
	backend := cpu.New(cpu.Options{})
	defer backend.Close()
	b := nn.Builder{Backend: backend, DType: tensor.F32}
	model, err := b.NewViT(tiny)
	if err != nil {
		log.Fatal(err)
	}
	model.Params.Init(backend, 1, nil)

	groups := []nn.Group{
		{Images: tensor.Zeros(tensor.F32, 2, 1, 28, 28)}, // 16 patches and CLS each
		{Images: tensor.Zeros(tensor.F32, 3, 1, 14, 14)}, // 4 patches and CLS each
	}
	layout, err := model.Layout(groups)
	if err != nil {
		log.Fatal(err)
	}
	tape := b.NewTape()
	tape.NoGrad(func() {
		out := model.Forward(tape, layout, groups, nn.Options{})
		fmt.Println(out.Tokens.Value, layout.CLSRows())
	})
	all, _ := model.Params.Count()
	fmt.Println(all, "parameters")
	// Output:
	// f32[49 32]@cpu [0 17 34 39 44]
	// 19488 parameters
}

// LoRA freezes a model and adds small trainable matrices to the modules whose names match.
func ExampleBuilder_AddLoRA() {
	backend := cpu.New(cpu.Options{})
	defer backend.Close()
	b := nn.Builder{Backend: backend, DType: tensor.F32, Train: true}
	model, err := b.NewViT(tiny)
	if err != nil {
		log.Fatal(err)
	}
	model.Params.Init(backend, 1, nil)
	adapters, err := b.AddLoRA(model, nn.LoRAConfig{Rank: 4, Alpha: 8, Targets: []string{"query", "value"}})
	if err != nil {
		log.Fatal(err)
	}
	all, trainable := model.Params.Count()
	fmt.Println(len(adapters), "adapters, the first on", adapters[0].Module)
	fmt.Printf("%d of %d parameters are trained\n", trainable, all)
	// Output:
	// 4 adapters, the first on encoder.layer.0.attention.attention.query
	// 1024 of 20512 parameters are trained
}
