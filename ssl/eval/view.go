package eval

import (
	"fmt"

	"github.com/dino-mx/dmx/data/augment"
	"github.com/dino-mx/dmx/nn/hf"
)

// NewView returns the transform that a model's image processor describes: one view of the whole picture with the given
// number of channels. A positive side asks for a square view of that many pixels instead of the processor's size; a
// centre crop then keeps its share of the resized picture. The error says what in preprocessor_config.json is not
// supported.
func NewView(p *hf.Processor, channels, side int) (*augment.Whole, error) {
	fail := func(format string, args ...any) (*augment.Whole, error) {
		return nil, fmt.Errorf("preprocessor_config.json: "+format, args...)
	}
	if side < 0 {
		return nil, fmt.Errorf("a view of %d pixels: expected a positive number", side)
	}
	if !p.Resize || !p.Rescale || !p.Normalize {
		return fail("do_resize, do_rescale and do_normalize must be true")
	}
	if d := p.RescaleFactor*255 - 1; d > 1e-6 || d < -1e-6 {
		return fail("rescale_factor is %g; it must be 1/255", p.RescaleFactor)
	}
	w := augment.WholeConfig{Channels: channels, Mean: p.Mean, Std: p.Std, Float: p.RescaleFirst}
	switch p.Resample {
	case hf.Bicubic:
		w.Filter = augment.Bicubic
	case hf.Bilinear:
		w.Filter = augment.Bilinear
	default:
		return fail("resample is %d; only 2 (bilinear) and 3 (bicubic) are supported", p.Resample)
	}
	shortest, size, crop := p.Size.ShortestEdge, p.Size, p.Crop
	switch {
	case side > 0:
		w.Height, w.Width = side, side
		switch {
		case shortest > 0 && p.CenterCrop:
			w.ShortSide = max(side, (side*shortest+crop.Height/2)/crop.Height)
		case shortest > 0:
			w.ShortSide = side
		}
	case shortest > 0 && p.CenterCrop:
		w.Height, w.Width, w.ShortSide = crop.Height, crop.Width, shortest
	case shortest > 0:
		return fail("shortest_edge without a centre crop gives pictures of different sizes; give the size of the view")
	case p.CenterCrop && (crop.Height != size.Height || crop.Width != size.Width):
		return fail("a centre crop out of a fixed size is not supported; give the size of the view")
	default:
		w.Height, w.Width = size.Height, size.Width
	}
	return augment.NewWhole(w)
}
