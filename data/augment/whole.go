package augment

import (
	"fmt"

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
	// Float resizes 8-bit pictures in float32, without rounding to levels in between.
	Float     bool
	Mean, Std []float64 // of samples scaled to 0…1; one value serves every channel
}

// Whole is the transform of evaluation.
type Whole struct {
	cfg   WholeConfig
	norm  *normaliser
	views []data.ViewSpec
}

// NewWhole checks the configuration.
func NewWhole(cfg WholeConfig) (*Whole, error) {
	switch {
	case cfg.Channels < 1 || cfg.Channels > data.MaxChannels:
		return nil, fmt.Errorf("evaluation view: %d channels, expected 1 to %d", cfg.Channels, data.MaxChannels)
	case cfg.Height < 1 || cfg.Width < 1 || cfg.Height > data.MaxPixels/cfg.Width:
		return nil, fmt.Errorf("evaluation view: %d x %d pixels", cfg.Height, cfg.Width)
	case cfg.ShortSide != 0 && cfg.ShortSide < max(cfg.Height, cfg.Width):
		return nil, fmt.Errorf("evaluation view: the short side of %d pixels is less than the %d x %d that are cut out of it", cfg.ShortSide, cfg.Height, cfg.Width)
	}
	norm, err := newNormaliser(cfg.Channels, cfg.Mean, cfg.Std)
	if err != nil {
		return nil, fmt.Errorf("evaluation view: %w", err)
	}
	return &Whole{cfg: cfg, norm: norm, views: []data.ViewSpec{{Name: "whole", Count: 1, Height: cfg.Height, Width: cfg.Width}}}, nil
}

// Config is what the transform was made from.
func (t *Whole) Config() WholeConfig { return t.cfg }

// Views returns the one view.
func (t *Whole) Views() []data.ViewSpec { return t.views }

// Channels is the number of channels of the view.
func (t *Whole) Channels() int { return t.cfg.Channels }

// Apply prepares s; the key is not used.
func (t *Whole) Apply(s *data.Sample, _ data.Key, out [][]float32) error {
	w := workers.Get().(*worker)
	defer workers.Put(w)
	if t.cfg.Float && s.Levels() {
		s = w.widen(&s.Image)
	}
	m := &s.Image
	if err := w.prepare(s, t.cfg.Channels); err != nil {
		return err
	}
	height, width := t.cfg.Height, t.cfg.Width
	if s := t.cfg.ShortSide; s > 0 {
		// The longer side is cut to a whole pixel, not rounded.
		height, width = s, s
		if m.Width > m.Height {
			width = s * m.Width / m.Height
		} else {
			height = s * m.Height / m.Width
		}
		if height > data.MaxPixels/width {
			return fmt.Errorf("the picture of %d x %d pixels becomes %d x %d, too large", m.Width, m.Height, width, height)
		}
	}
	d := choice{box: box{height: m.Height, width: m.Width}}
	// transformers cuts half a pixel off; torchvision's transforms round it to even.
	top, left := (height-t.cfg.Height)/2, (width-t.cfg.Width)/2
	w.cut(s, &d, t.cfg.Filter, height, width, t.norm, out[0], top, left, t.cfg.Height, t.cfg.Width)
	return nil
}
