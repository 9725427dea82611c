package augment

import (
	"fmt"

	"github.com/dino-mx/dmx/data"
)

// Filter is the kernel of a resize.
type Filter uint8

// The filters, both widened when shrinking (antialiased).
const (
	Bicubic  Filter = iota // a = -0.5, support 2
	Bilinear               // triangle, support 1
)

// Crop is the geometry of a kind of view.
type Crop struct {
	Number int        // views of this kind
	Size   int        // side of the view in pixels
	Scale  [2]float64 // range of the crop's area over the image's area
}

// Config is the multi-crop augmentation of DINO. Probabilities are from 0 to 1.
type Config struct {
	Channels      int // of the images, and so of the views
	Global, Local Crop
	Filter        Filter

	HorizontalFlip, VerticalFlip float64 // probabilities

	// JitterProb is the probability of the colour jitter: brightness, contrast, saturation and hue in a random order.
	// Brightness, Contrast and Saturation draw a factor from 1 ± the value; Hue draws a shift in turns from ± the
	// value, at most 0.5. Saturation and hue apply to 3 channels only; with another number of channels brightness and
	// contrast apply to each channel.
	JitterProb                            float64
	Brightness, Contrast, Saturation, Hue float64

	GrayProb float64 // 3 channels only

	// BlurProb is the probability of a Gaussian blur on global crop 1, on the other global crops, and on local crops.
	BlurProb  [3]float64
	BlurSigma [2]float64 // range of the standard deviation in pixels of the view

	SolariseProb float64 // of inverting what is at or above half intensity, global crop 2 only

	GammaProb  float64    // probability of a random gamma after the jitter
	GammaRange [2]float64 // range of the gamma

	// Mean and Std normalise samples scaled to 0…1. One value serves every channel.
	Mean, Std []float64
}

// check reports the first value that makes no sense.
func (c *Config) check() error {
	if c.Channels < 1 || c.Channels > data.MaxChannels {
		return fmt.Errorf("%d channels, expected 1 to %d", c.Channels, data.MaxChannels)
	}
	if c.Global.Number < 1 {
		return fmt.Errorf("%d global crops, expected at least 1", c.Global.Number)
	}
	for _, k := range []struct {
		name string
		crop Crop
	}{{"global", c.Global}, {"local", c.Local}} {
		switch crop := k.crop; {
		case crop.Number < 0:
			return fmt.Errorf("%d %s crops", crop.Number, k.name)
		case crop.Number == 0:
		case crop.Size < 1 || crop.Size > 1<<13:
			return fmt.Errorf("%s crops of %d pixels, expected 1 to %d", k.name, crop.Size, 1<<13)
		case !(crop.Scale[0] > 0 && crop.Scale[0] <= crop.Scale[1] && crop.Scale[1] <= 1):
			return fmt.Errorf("scale %v of %s crops, expected two rising numbers above 0 and at most 1", crop.Scale, k.name)
		}
	}
	for _, p := range []struct {
		name string
		v    float64
		most float64
	}{
		{"horizontal flip probability", c.HorizontalFlip, 1}, {"vertical flip probability", c.VerticalFlip, 1},
		{"jitter probability", c.JitterProb, 1}, {"grey probability", c.GrayProb, 1}, {"solarise probability", c.SolariseProb, 1},
		{"blur probability of global crop 1", c.BlurProb[0], 1}, {"blur probability of global crop 2", c.BlurProb[1], 1},
		{"blur probability of local crops", c.BlurProb[2], 1}, {"gamma probability", c.GammaProb, 1},
		{"brightness", c.Brightness, 10}, {"contrast", c.Contrast, 10}, {"saturation", c.Saturation, 10}, {"hue", c.Hue, 0.5},
	} {
		if !(p.v >= 0 && p.v <= p.most) {
			return fmt.Errorf("%s is %v, expected 0 to %v", p.name, p.v, p.most)
		}
	}
	if blurs := max(c.BlurProb[0], c.BlurProb[1], c.BlurProb[2]) > 0; blurs && !(c.BlurSigma[0] > 0 && c.BlurSigma[0] <= c.BlurSigma[1] && c.BlurSigma[1] <= 100) {
		return fmt.Errorf("range %v of the blur's standard deviation, expected two rising numbers above 0 and at most 100", c.BlurSigma)
	}
	if c.GammaProb > 0 && !(c.GammaRange[0] > 0 && c.GammaRange[0] <= c.GammaRange[1] && c.GammaRange[1] <= 10) {
		return fmt.Errorf("range %v of the gamma, expected two rising numbers above 0 and at most 10", c.GammaRange)
	}
	return nil
}
