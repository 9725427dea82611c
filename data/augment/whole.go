package augment

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/data"
)

// WholeConfig is how a picture is prepared for evaluation: one view, nothing random. The picture is resized, and the
// centre of what that gives is cut out; where the view is larger, zeros surround the picture.
type WholeConfig struct {
	Channels      int
	Height, Width int // of the view in pixels

	// At most one of the following says how the picture is resized. Without any it becomes Height x Width, which changes
	// the aspect of pictures that have another.
	ShortSide int    // the shorter side gets so many pixels, the aspect stays
	Size      [2]int // the picture gets this height and width
	Keep      bool   // the picture stays as it is

	// RoundToEven rounds the place of the cut to the nearest pixel, and from the middle between two to the even one, as
	// torchvision's transforms do. Otherwise it is rounded down, as in transformers.
	RoundToEven bool
	Filter      Filter
	// Float resizes 8-bit pictures in float32, without rounding to levels in between and without limiting what a filter
	// leaves outside of them.
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
	open := t.cfg.Float && s.Levels()
	if open {
		s = w.widen(&s.Image)
	}
	m := &s.Image
	if err := w.prepare(s, t.cfg.Channels); err != nil {
		return err
	}
	height, width := t.resized(m)
	if height > data.MaxPixels/width {
		return fmt.Errorf("the picture of %d x %d pixels becomes %d x %d, too large", m.Width, m.Height, width, height)
	}
	rows := t.cut(height, t.cfg.Height)
	columns := t.cut(width, t.cfg.Width)
	view := out[0]
	whole := rows.n == t.cfg.Height && columns.n == t.cfg.Width
	if !whole {
		view = make([]float32, t.cfg.Channels*rows.n*columns.n)
	}
	b := box{height: m.Height, width: m.Width}
	if !s.Levels() {
		v := w.viewF[:m.Channels]
		for c := range v {
			v[c].reset(height, width)
		}
		w.floats.resize(v, s, b, t.cfg.Filter, false, false, open)
		t.norm.writeF(view, v, rows.from, columns.from, rows.n, columns.n)
	} else {
		v := w.view[:m.Channels]
		v.reset(height, width)
		w.resize8(v, &w.picture, b, t.cfg.Filter, false, false)
		t.norm.write8(view, v, rows.from, columns.from, rows.n, columns.n)
	}
	if !whole {
		t.surround(out[0], view, rows, columns)
	}
	return nil
}

// resized is the size that a picture gets.
func (t *Whole) resized(m *data.Image) (height, width int) {
	switch c := &t.cfg; {
	case c.Keep:
		return m.Height, m.Width
	case c.Size != [2]int{}:
		return c.Size[0], c.Size[1]
	case c.ShortSide == 0:
		return c.Height, c.Width
	// The longer side is cut to a whole pixel, not rounded.
	case m.Width > m.Height:
		return c.ShortSide, c.ShortSide * m.Width / m.Height
	default:
		return c.ShortSide * m.Height / m.Width, c.ShortSide
	}
}

// span is the n pixels from one on, and where in the view they go.
type span struct{ from, n, to int }

// cut is the middle view pixels out of size, or size pixels in the middle of the view.
func (t *Whole) cut(size, view int) span {
	if view > size {
		return span{n: size, to: (view - size) / 2}
	}
	left := size - view
	from := left / 2
	if t.cfg.RoundToEven {
		from = int(math.RoundToEven(float64(left) / 2))
	}
	return span{from: from, n: view}
}

// surround writes a smaller view to out, black around it.
func (t *Whole) surround(out, view []float32, rows, columns span) {
	height, width := t.cfg.Height, t.cfg.Width
	for c := range t.cfg.Channels {
		plane := out[c*height*width:][:height*width]
		for i := range plane {
			plane[i] = -t.norm.mean[c] / t.norm.std[c]
		}
		for y := range rows.n {
			copy(plane[(rows.to+y)*width+columns.to:], view[(c*rows.n+y)*columns.n:][:columns.n])
		}
	}
}
