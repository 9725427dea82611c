package augment

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dino-mx/dmx/data"
)

// Filter is the kernel of a resize.
type Filter uint8

// The filters, both widened when shrinking (antialiased).
const (
	Bicubic  Filter = iota // a = -0.5, support 2
	Bilinear               // triangle, support 1
	Lanczos                // sinc windowed by a wider sinc, support 3
	Nearest                // the sample that holds the middle of the output's
)

// View is a kind of view with what changes from kind to kind.
type View struct {
	data.ViewSpec
	Scale [2]float64 // range of the crop's area over the image's area
	// Blur and Solarise are the probabilities of a Gaussian blur and of inverting what is at or above half intensity,
	// for the first view of the kind, the second, and so on. The last value serves the views behind it; none is 0.
	Blur, Solarise []float64
}

// Config is the multi-crop augmentation of DINO. Probabilities are from 0 to 1.
type Config struct {
	Channels int // of the images, and so of the views
	Views    []View
	Filter   Filter

	HorizontalFlip, VerticalFlip float64 // probabilities

	// JitterProb is the probability of the colour jitter: brightness, contrast, saturation and hue in a random order.
	// Brightness, Contrast and Saturation draw a factor from 1 ± the value; Hue draws a shift in turns from ± the
	// value, at most 0.5. Saturation and hue apply to 3 channels only; with another number of channels brightness and
	// contrast apply to each channel.
	JitterProb                            float64
	Brightness, Contrast, Saturation, Hue float64

	GrayProb float64 // 3 channels only

	BlurSigma [2]float64 // range of the blur's standard deviation in pixels of the view

	GammaProb  float64    // probability of a random gamma after the jitter
	GammaRange [2]float64 // range of the gamma

	// Mean and Std normalise samples scaled to 0…1. One value serves every channel.
	Mean, Std []float64
}

// check reports the first value of a kind of view that makes no sense.
func (v *View) check() error {
	switch {
	case v.Role != data.Global && v.Role != data.Local:
		return fmt.Errorf("%s views: role %s; only global and local views are made", v.Name, v.Role)
	case v.Count < 1:
		return fmt.Errorf("%d %s views, expected at least 1", v.Count, v.Name)
	case min(v.Height, v.Width) < 1 || max(v.Height, v.Width) > 1<<13:
		return fmt.Errorf("%s views of %d x %d pixels, expected 1 to %d", v.Name, v.Height, v.Width, 1<<13)
	case !(v.Scale[0] > 0 && v.Scale[0] <= v.Scale[1] && v.Scale[1] <= 1):
		return fmt.Errorf("scale %v of %s views, expected two rising numbers above 0 and at most 1", v.Scale, v.Name)
	}
	for _, p := range slices.Concat(v.Blur, v.Solarise) {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("blur %v and solarise %v of %s views, expected probabilities from 0 to 1", v.Blur, v.Solarise,
				v.Name)
		}
	}
	return nil
}

// of returns the probability for view i of a kind.
func of(p []float64, i int) float64 {
	if len(p) == 0 {
		return 0
	}
	return p[min(i, len(p)-1)]
}

// check reports the first value that makes no sense.
func (c *Config) check() error {
	if c.Channels < 1 || c.Channels > data.MaxChannels {
		return fmt.Errorf("%d channels, expected 1 to %d", c.Channels, data.MaxChannels)
	}
	if len(c.Views) == 0 {
		return errors.New("no views, expected at least one kind")
	}
	blurs := false
	for _, v := range c.Views {
		if err := v.check(); err != nil {
			return err
		}
		for _, p := range v.Blur {
			blurs = blurs || p > 0
		}
	}
	for _, p := range []struct {
		name string
		v    float64
		most float64
	}{
		{"horizontal flip probability", c.HorizontalFlip, 1}, {"vertical flip probability", c.VerticalFlip, 1},
		{"jitter probability", c.JitterProb, 1}, {"grey probability", c.GrayProb, 1},
		{"gamma probability", c.GammaProb, 1},
		{"brightness", c.Brightness, 10}, {"contrast", c.Contrast, 10}, {"saturation", c.Saturation, 10}, {"hue", c.Hue, 0.5},
	} {
		if !(p.v >= 0 && p.v <= p.most) {
			return fmt.Errorf("%s is %v, expected 0 to %v", p.name, p.v, p.most)
		}
	}
	if blurs && !(c.BlurSigma[0] > 0 && c.BlurSigma[0] <= c.BlurSigma[1] && c.BlurSigma[1] <= 100) {
		return fmt.Errorf("range %v of the blur's standard deviation, expected two rising numbers above 0 and at most 100", c.BlurSigma)
	}
	if c.GammaProb > 0 && !(c.GammaRange[0] > 0 && c.GammaRange[0] <= c.GammaRange[1] && c.GammaRange[1] <= 10) {
		return fmt.Errorf("range %v of the gamma, expected two rising numbers above 0 and at most 10", c.GammaRange)
	}
	return nil
}
