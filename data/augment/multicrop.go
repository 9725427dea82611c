package augment

import (
	"fmt"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/tensor"
)

// MultiCrop makes Global.Number + Local.Number views, the global ones first.
type MultiCrop struct {
	cfg   Config
	norm  *normaliser
	views []data.View
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
	for _, c := range []Crop{cfg.Global, cfg.Local} {
		for range c.Number {
			t.views = append(t.views, data.View{Height: c.Size, Width: c.Size})
		}
	}
	return t, nil
}

// Views is the size of every view, global first.
func (t *MultiCrop) Views() []data.View { return t.views }

// Channels is the number of channels of the views.
func (t *MultiCrop) Channels() int { return t.cfg.Channels }

// Apply cuts the views of m. View v is a function of m, the configuration, and the stream of (seed, epoch, sample, v).
func (t *MultiCrop) Apply(m *data.Image, key data.Key, out [][]float32) error {
	w := workers.Get().(*worker)
	defer workers.Put(w)
	if err := w.prepare(m, t.cfg.Channels); err != nil {
		return err
	}
	for v, size := range t.views {
		r := tensor.NewRand(key.Seed, key.Epoch, key.Sample, uint32(v))
		d := t.cfg.draw(r, v, m.Height, m.Width)
		w.cut(m, &d, t.cfg.Filter, size.Height, size.Width, t.norm, out[v], 0, 0, size.Height, size.Width)
	}
	return nil
}
