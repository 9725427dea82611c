package eval

import (
	"fmt"
	"math"
	"slices"

	"github.com/dino-mx/dmx/data/augment"
	"github.com/dino-mx/dmx/nn/hf"
)

// NewView returns the transform that a model's image processor describes: one view of the whole picture with the given
// number of channels. A positive side asks for a square view of that many pixels instead of the processor's size; a
// centre crop then keeps its share of the resized picture. The error says what in preprocessor_config.json is not
// supported.
func NewView(p *hf.Processor, channels, side int) (*augment.Whole, error) {
	fail := func(format string, args ...any) (*augment.Whole, error) {
		file := p.File
		if file == "" {
			file = hf.ProcessorFile
		}
		return nil, fmt.Errorf(file+": "+format, args...)
	}
	if side < 0 {
		return nil, fmt.Errorf("a view of %d pixels: expected a positive number", side)
	}
	w := augment.WholeConfig{Channels: channels, Float: p.RescaleFirst, RoundToEven: p.RoundCrop}
	w.Mean, w.Std = levels(p)
	if p.RescaleFirst && !p.Rescale {
		return fail("do_rescale is false, but a %s resizes what it has rescaled", p.Kind)
	}
	switch p.Resample {
	case hf.Bicubic:
		w.Filter = augment.Bicubic
	case hf.Bilinear:
		w.Filter = augment.Bilinear
	case hf.Lanczos:
		w.Filter = augment.Lanczos
	case hf.Nearest:
		w.Filter = augment.Nearest
	default:
		return fail("resample is %d; 0 (nearest), 1 (Lanczos), 2 (bilinear) and 3 (bicubic) are supported", p.Resample)
	}
	shortest, size, crop := p.Size.ShortestEdge, p.Size, p.Crop
	switch {
	case side > 0 && p.CenterCrop:
		// scaled keeps the share of the cut.
		scaled := func(n, crop int) int { return max(1, (side*n+crop/2)/crop) }
		shortest = scaled(shortest, crop.Height)
		size = hf.Size{Height: scaled(size.Height, crop.Height), Width: scaled(size.Width, crop.Width)}
		crop = hf.Size{Height: side, Width: side}
		if p.Size.ShortestEdge == 0 {
			shortest = 0
		}
	case side > 0:
		crop, size = hf.Size{Height: side, Width: side}, hf.Size{Height: side, Width: side}
		if shortest > 0 {
			shortest = side
		}
	case p.CenterCrop:
	case !p.Resize:
		return fail("do_resize is false without a centre crop, which gives pictures of different sizes; " +
			"give the size of the view")
	case shortest > 0:
		return fail("shortest_edge without a centre crop gives pictures of different sizes; give the size of the view")
	default:
		crop = size
	}
	w.Height, w.Width = crop.Height, crop.Width
	switch {
	case !p.Resize && (p.CenterCrop || side == 0):
		w.Keep = true
	case shortest > 0:
		w.ShortSide = shortest
	case size != crop:
		w.Size = [2]int{size.Height, size.Width}
	}
	return augment.NewWhole(w)
}

// levels are mean and deviation of samples scaled to 0…1 that do what a processor does: it multiplies levels of 0…255
// with rescale_factor, or leaves them, and normalises what that gives, or leaves it.
func levels(p *hf.Processor) (mean, std []float64) {
	mean, std = p.Mean, p.Std
	if !p.Normalize {
		mean, std = []float64{0}, []float64{1}
	}
	unit := 255.0
	if p.Rescale {
		unit *= p.RescaleFactor
	}
	if math.Abs(unit-1) < 1e-6 {
		return mean, std
	}
	mean, std = slices.Clone(mean), slices.Clone(std)
	for i := range mean {
		mean[i] /= unit
	}
	for i := range std {
		std[i] /= unit
	}
	return mean, std
}
