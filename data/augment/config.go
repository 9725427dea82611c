package augment

import (
	"errors"

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

// MultiCrop makes Global.Number + Local.Number views, the global ones first.
type MultiCrop struct{ cfg Config }

// NewMultiCrop checks the configuration.
func NewMultiCrop(cfg Config) (*MultiCrop, error) { return nil, errors.New("augment: not built") }

// Views is the size of every view, global first.
func (t *MultiCrop) Views() []data.View { return nil }

// Channels is the number of channels of the views.
func (t *MultiCrop) Channels() int { return t.cfg.Channels }

// Apply cuts the views of m.
func (t *MultiCrop) Apply(m *data.Image, key data.Key, out [][]float32) error { return nil }
