package eval

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/data/augment"
	"github.com/dino-mx/dmx/nn/hf"
)

func processor(change func(p *hf.Processor)) *hf.Processor {
	p := &hf.Processor{
		Resize: true, Rescale: true, Normalize: true, RescaleFactor: 1. / 255, Resample: hf.Bicubic, CenterCrop: true,
		Size: hf.Size{ShortestEdge: 256}, Crop: hf.Size{Height: 224, Width: 224}, Mean: []float64{.5}, Std: []float64{.25},
	}
	change(p)
	return p
}

func TestViewOfAProcessor(t *testing.T) {
	fixed := func(p *hf.Processor) { p.Size, p.CenterCrop = hf.Size{Height: 96, Width: 128}, false }
	for _, c := range []struct {
		name   string
		change func(p *hf.Processor)
		side   int
		want   augment.WholeConfig // but for what all have in common
	}{
		{"crop", func(*hf.Processor) {}, 0, augment.WholeConfig{Height: 224, Width: 224, ShortSide: 256}},
		{"crop of another size", func(*hf.Processor) {}, 112, augment.WholeConfig{Height: 112, Width: 112, ShortSide: 128}},
		{"fixed", fixed, 0, augment.WholeConfig{Height: 96, Width: 128}},
		{"fixed of another size", fixed, 56, augment.WholeConfig{Height: 56, Width: 56}},
		{"crop out of a fixed size", func(p *hf.Processor) { p.Size = hf.Size{Height: 96, Width: 128} }, 112,
			augment.WholeConfig{Height: 112, Width: 112, Size: [2]int{48, 64}}},
		{"crop of torchvision, as it is", func(p *hf.Processor) { p.RoundCrop, p.Resize = true, false }, 0,
			augment.WholeConfig{Height: 224, Width: 224, Keep: true, RoundToEven: true}},
		{"no crop", func(p *hf.Processor) { p.CenterCrop = false }, 56, augment.WholeConfig{Height: 56, Width: 56, ShortSide: 56}},
		{"bilinear", func(p *hf.Processor) { p.Resample, p.RescaleFirst = hf.Bilinear, true }, 0,
			augment.WholeConfig{Height: 224, Width: 224, ShortSide: 256, Filter: augment.Bilinear, Float: true}},
	} {
		c.want.Channels, c.want.Mean, c.want.Std = 1, []float64{.5}, []float64{.25}
		if c.name != "bilinear" {
			c.want.Filter = augment.Bicubic
		}
		v, err := NewView(processor(c.change), 1, c.side)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(c.want, v.Config()); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	for want, change := range map[string]func(p *hf.Processor){
		"do_resize is false without":          func(p *hf.Processor) { p.Resize, p.CenterCrop = false, false },
		"do_rescale is false":                 func(p *hf.Processor) { p.RescaleFirst, p.Rescale = true, false },
		"resample is 4":                       func(p *hf.Processor) { p.Resample = hf.Box },
		"shortest_edge without a centre crop": func(p *hf.Processor) { p.CenterCrop = false },
	} {
		_, err := NewView(processor(change), 1, 0)
		if err == nil || !strings.Contains(err.Error(), "preprocessor_config.json: "+want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}
