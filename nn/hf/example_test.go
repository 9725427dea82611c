package hf_test

import (
	"fmt"
	"image"
	"image/color"
	"log"

	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/hf"
	"github.com/dino-mx/dmx/tensor"
)

// A model folder of transformers is opened and the CLS tokens of three images are its features.
func Example() {
	checkpoint, err := hf.Open("testdata/dinov2", hf.OpenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	backend := cpu.New(cpu.Options{})
	defer backend.Close()
	b := nn.Builder{Backend: backend, DType: tensor.F32}
	model, report, err := checkpoint.BuildViews(b, hf.Allow{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Summary())

	side := checkpoint.Config.ImageSize
	images := tensor.Zeros(tensor.F32, 3, 3, side, side)
	for i, c := range []color.Color{color.White, color.Gray{Y: 128}, color.RGBA{R: 200, A: 255}} {
		normalise(images.Rows(i, i+1), image.NewUniform(c), checkpoint.Processor)
	}

	groups := []nn.Group{{Images: images}}
	layout, err := model.Layout(groups)
	if err != nil {
		log.Fatal(err)
	}
	tape := b.NewTape()
	tape.NoGrad(func() {
		out := model.Forward(tape, layout, groups, nn.Options{Rows: layout.CLSRows()})
		for i := range 3 {
			fmt.Printf("%.2f\n", out.Tokens.Value.Rows(i, i+1).F32()[:4])
		}
	})
	// Output:
	// 43 tensors loaded, 0 initialised, 0 ignored
	// [-1.26 -0.27 -0.74 -0.08]
	// [-1.91 -0.77 -1.63 0.61]
	// [-0.15 0.33 -0.97 -0.12]
}

// normalise writes a picture's pixels as the processor's (x/255 - mean)/std, channel by channel.
func normalise(dst *tensor.Tensor, m image.Image, p *hf.Processor) {
	side := dst.Dim(-1)
	for y := range side {
		for x := range side {
			r, g, b, _ := m.At(x, y).RGBA()
			for c, v := range []uint32{r, g, b} {
				dst.Set((c*side+y)*side+x, (float64(v)/0xffff-p.Mean[c])/p.Std[c])
			}
		}
	}
}

// Every tensor of a file is accounted for. Here a checkpoint of a training run holds two networks and the run's state.
func ExampleCheckpoint_Report() {
	c, err := hf.Open("testdata/meta-dino/checkpoint.pth", hf.OpenOptions{Branch: "student", Heads: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(c.Config.Family, c.Naming, c.Prefix)
	r := c.Report()
	fmt.Println(r.Summary())
	for _, it := range r.Ignored[len(r.Ignored)-2:] {
		fmt.Printf("%s: %s\n", it.Stored, it.Why)
	}
	// Output:
	// vit dino student.module.backbone.
	// 38 tensors loaded, 0 initialised, 33 ignored
	// teacher.backbone.norm.bias: another branch of a training checkpoint, teacher.backbone
	// teacher.head.mlp.0.weight: a head, not part of the trunk
}
