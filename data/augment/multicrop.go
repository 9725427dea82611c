package augment

import (
	"fmt"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/tensor"
)

// MultiCrop makes the views of its configuration.
type MultiCrop struct {
	cfg   Config
	norm  *normaliser
	views []data.ViewSpec
}

// NewMultiCrop checks the configuration.
func NewMultiCrop(cfg Config) (*MultiCrop, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("augmentation: %w", err)
	}
	norm, err := newNormaliser(cfg.Channels, cfg.Mean, cfg.Std)
	if err != nil {
		return nil, fmt.Errorf("augmentation: %w", err)
	}
	t := &MultiCrop{cfg: cfg, norm: norm}
	for _, v := range cfg.Views {
		t.views = append(t.views, v.ViewSpec)
	}
	return t, nil
}

// Views returns the kinds of views of the configuration.
func (t *MultiCrop) Views() []data.ViewSpec { return t.views }

// Channels is the number of channels of the views.
func (t *MultiCrop) Channels() int { return t.cfg.Channels }

// Apply makes the views of s. View v is a function of s, the configuration, and the stream of (seed, epoch, sample, v).
func (t *MultiCrop) Apply(s *data.Sample, key data.Key, out [][]float32) error {
	w := workers.Get().(*worker)
	defer workers.Put(w)
	if err := w.prepare(s, t.cfg.Channels); err != nil {
		return err
	}
	n := 0
	for k := range t.cfg.Views {
		v := &t.cfg.Views[k]
		for i := range v.Count {
			r := tensor.NewRand(key.Seed, key.Epoch, key.Sample, uint32(n))
			d := t.cfg.draw(r, v, i, s.Image.Height, s.Image.Width)
			w.cut(s, &d, t.cfg.Filter, v.Height, v.Width, t.norm, out[n], 0, 0, v.Height, v.Width)
			n++
		}
	}
	return nil
}
