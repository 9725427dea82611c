package augment

import (
	"errors"

	"github.com/dino-mx/dmx/data"
)

// WholeConfig is how a picture is prepared for evaluation: one view, nothing random.
type WholeConfig struct {
	Channels      int
	Height, Width int // of the view in pixels
	// ShortSide, if positive, resizes the shorter side to so many pixels and then cuts the centre; 0 resizes the whole
	// picture to Height x Width, which changes the aspect of pictures that have another.
	ShortSide int
	Filter    Filter
	Mean, Std []float64 // of samples scaled to 0…1; one value serves every channel
}

// Whole is the transform of evaluation.
type Whole struct{ cfg WholeConfig }

// NewWhole checks the configuration.
func NewWhole(cfg WholeConfig) (*Whole, error) { return nil, errors.New("augment: not built") }

// Views is the one view.
func (t *Whole) Views() []data.View { return []data.View{{Height: t.cfg.Height, Width: t.cfg.Width}} }

// Channels is the number of channels of the view.
func (t *Whole) Channels() int { return t.cfg.Channels }

// Apply prepares m; the key is not used.
func (t *Whole) Apply(m *data.Image, key data.Key, out [][]float32) error { return nil }
