package augment

import (
	"fmt"
	"sync"

	"github.com/dino-mx/dmx/data"
)

// worker is the scratch memory of one Apply.
type worker struct {
	picture picture8
	view    planes8
	resizer
	blurrer blurrer

	viewF  planesF
	floats floats
	wide   data.Sample
}

// workers recycles scratch memory; what a worker held never shows in what it makes.
var workers = sync.Pool{New: func() any { return new(worker) }}

func (w *worker) channels(n int) {
	if len(w.view) < n {
		w.view = append(w.view, make(planes8, n-len(w.view))...)
		w.viewF = append(w.viewF, make(planesF, n-len(w.viewF))...)
	}
}

// prepare checks an image and turns it.
func (w *worker) prepare(s *data.Sample, channels int) error {
	m := &s.Image
	if m.Channels != channels {
		return fmt.Errorf("the picture has %d channels, expected %d", m.Channels, channels)
	}
	if m.Height < 1 || m.Width < 1 {
		return fmt.Errorf("the picture has %d x %d pixels", m.Height, m.Width)
	}
	w.channels(channels)
	if s.Levels() {
		w.picture.set(m)
	}
	return nil
}

// widen is an 8-bit image with 16-bit samples of the same brightness.
func (w *worker) widen(m *data.Image) *data.Sample {
	w.wide.Image.Reset(m.Channels, m.Height, m.Width, data.U16)
	for i, v := range m.U8 {
		w.wide.Image.U16[i] = uint16(v) * 257
	}
	return &w.wide
}

// cut makes one view: the box resized to height x width, changed, and its rectangle at (top, left) normalised to out.
func (w *worker) cut(s *data.Sample, d *choice, f Filter, height, width int, n *normaliser, out []float32, top, left, outHeight, outWidth int) {
	m := &s.Image
	if !s.Levels() {
		v := w.viewF[:m.Channels]
		for c := range v {
			v[c].reset(height, width)
		}
		w.floats.resize(v, s, d.box, f, d.flipX, d.flipY, false)
		v.colour(d, &w.floats)
		n.writeF(out, v, top, left, outHeight, outWidth)
		return
	}
	v := w.view[:m.Channels]
	v.reset(height, width)
	w.resize8(v, &w.picture, d.box, f, d.flipX, d.flipY)
	v.colour(d, &w.blurrer)
	n.write8(out, v, top, left, outHeight, outWidth)
}
