package augment

import (
	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/tensor"
)

// Geometry is where the pixels of a view come from, so that masks, boxes and points can follow the image into it.
type Geometry struct {
	box           box
	height, width int // of the view
	flipX, flipY  bool
}

// Geometry returns the geometry that Apply gives view v of s. Views are numbered as in Apply.
func (t *MultiCrop) Geometry(s *data.Sample, key data.Key, v int) Geometry {
	n := v
	for k := range t.cfg.Views {
		kind := &t.cfg.Views[k]
		if n < kind.Count {
			r := tensor.NewRand(key.Seed, key.Epoch, key.Sample, uint32(v))
			d := t.cfg.draw(r, kind, n, s.Image.Height, s.Image.Width)
			return Geometry{d.box, kind.Height, kind.Width, d.flipX, d.flipY}
		}
		n -= kind.Count
	}
	panic("augment: Geometry of a view that there is not")
}

// Point returns a point of the image in pixels of the view, and whether it lies in the view.
func (g Geometry) Point(p data.Point) (data.Point, bool) {
	p.Y = (p.Y - float64(g.box.top)) * float64(g.height) / float64(g.box.height)
	p.X = (p.X - float64(g.box.left)) * float64(g.width) / float64(g.box.width)
	if g.flipY {
		p.Y = float64(g.height) - p.Y
	}
	if g.flipX {
		p.X = float64(g.width) - p.X
	}
	return p, p.Y >= 0 && p.Y < float64(g.height) && p.X >= 0 && p.X < float64(g.width)
}

// Box returns the part of a box of the image that lies in the view, in pixels of the view, and whether there is any.
func (g Geometry) Box(b data.Box) (data.Box, bool) {
	one, _ := g.Point(data.Point{Y: b.Top, X: b.Left})
	other, _ := g.Point(data.Point{Y: b.Top + b.Height, X: b.Left + b.Width})
	top, bottom := max(0, min(one.Y, other.Y)), min(float64(g.height), max(one.Y, other.Y))
	left, right := max(0, min(one.X, other.X)), min(float64(g.width), max(one.X, other.X))
	b.Top, b.Left, b.Height, b.Width = top, left, bottom-top, right-left
	return b, b.Height > 0 && b.Width > 0
}

// Mask writes the view of a mask to out: each pixel has the label of the image's pixel in which its middle lies, so
// labels are never blended.
func (g Geometry) Mask(out, mask *data.Image) {
	out.Reset(1, g.height, g.width, mask.Type)
	for y := range g.height {
		for x := range g.width {
			fromY, fromX := y, x
			if g.flipY {
				fromY = g.height - 1 - y
			}
			if g.flipX {
				fromX = g.width - 1 - x
			}
			fromY = g.box.top + (2*fromY+1)*g.box.height/(2*g.height)
			fromX = g.box.left + (2*fromX+1)*g.box.width/(2*g.width)
			to, from := y*g.width+x, fromY*mask.Width+fromX
			if mask.Type == data.U16 {
				out.U16[to] = mask.U16[from]
			} else {
				out.U8[to] = mask.U8[from]
			}
		}
	}
}
