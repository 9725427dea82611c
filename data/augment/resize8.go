package augment

import "github.com/dino-mx/dmx/data"

// Both passes of a resize run one kernel, which weighs whole rows: lanes are columns, so any vector width works
// and nothing is gathered. The horizontal pass gets there by working on the transposed picture, and the transposed
// picture is made once for all views.

// picture8 is a decoded picture in both orientations.
type picture8 struct {
	upright, turned planes8
	copied          []uint8
}

// set takes the samples of m, which it refers to, and turns them.
func (p *picture8) set(m *data.Image) {
	pix := m.U8
	// The kernels read past the last row.
	if cap(pix) < len(pix)+lanes {
		p.copied = append(append(p.copied[:0], pix...), make([]uint8, lanes)...)
		pix = p.copied
	}
	pix = pix[:m.Channels*m.Height*m.Width+lanes]
	n := m.Height * m.Width
	for len(p.upright) < m.Channels {
		p.upright, p.turned = append(p.upright, plane8{}), append(p.turned, plane8{})
	}
	for c := range m.Channels {
		p.upright[c] = plane8{pix: pix[c*n:], height: m.Height, width: m.Width, stride: m.Width}
		t := &p.turned[c]
		t.reset(m.Width, m.Height)
		transpose8(t.pix, t.stride, p.upright[c].pix, m.Width, m.Height, m.Width)
	}
}

// box is a rectangle of pixels.
type box struct{ top, left, height, width int }

// resizer holds the weight tables and the intermediate planes of one worker.
type resizer struct {
	across, down        table
	half, turned, third plane8
}

// resize8 cuts b out of a picture and resizes it to out, flipped if asked. Samples outside b are not seen, as if it
// had been cropped first.
func (r *resizer) resize8(out planes8, p *picture8, b box, f Filter, flipX, flipY bool) {
	r.across.build(f, b.width, 0, float64(b.width), out[0].width)
	r.down.build(f, b.height, 0, float64(b.height), out[0].height)
	r.both(out, p, b, flipX, flipY)
}

// downFirst is the order of the passes. The samples between them are rounded to 8 bits, so the order shows: this is the
// rule of Pillow 13, found by comparing; earlier versions always went across first, which differs by at most a level.
func downFirst(b box, height, width int) bool {
	return height < b.height && 2*(b.width-width) < b.height-height
}

// both runs the two passes with tables that are built.
func (r *resizer) both(out planes8, p *picture8, b box, flipX, flipY bool) {
	height, width := out[0].height, out[0].width
	for c := range out {
		if downFirst(b, height, width) {
			src := &p.upright[c]
			r.half.reset(height, b.width)
			weigh8(&r.half, src.pix[b.top*src.stride+b.left:], src.stride, b.width, &r.down, flipY)
			r.turned.reset(b.width, height)
			transpose8(r.turned.pix, r.turned.stride, r.half.pix, r.half.stride, height, b.width)
			r.third.reset(width, height)
			weigh8(&r.third, r.turned.pix, r.turned.stride, height, &r.across, flipX)
			transpose8(out[c].pix, out[c].stride, r.third.pix, r.third.stride, width, height)
			continue
		}
		src := &p.turned[c]
		r.half.reset(width, b.height)
		weigh8(&r.half, src.pix[b.left*src.stride+b.top:], src.stride, b.height, &r.across, flipX)
		r.turned.reset(b.height, width)
		transpose8(r.turned.pix, r.turned.stride, r.half.pix, r.half.stride, width, b.height)
		weigh8(&out[c], r.turned.pix, r.turned.stride, width, &r.down, flipY)
	}
}

// weigh8 writes the rows that a table makes of the rows of src, n lanes of each, in reverse order if flip.
func weigh8(dst *plane8, src []uint8, stride, n int, t *table, flip bool) {
	for i := range dst.height {
		at := i
		if flip {
			at = dst.height - 1 - i
		}
		w := t.fixed[i*t.stride : i*t.stride+int(t.count[i])]
		weighRow8(dst.pix[at*dst.stride:], src[int(t.first[i])*stride:], stride, n, w)
	}
}
