package augment

import (
	"math"

	"github.com/dino-mx/dmx/data"
)

// Images of other samples than 8-bit levels go through the same operations in float32 on a scale of 0…1, without
// rounding to levels in between, so that nothing of their depth is lost.

// planeF is one channel in float32.
type planeF struct {
	pix           []float32
	height, width int
}

func (p *planeF) reset(height, width int) {
	p.height, p.width = height, width
	p.pix = grow(p.pix, height*width)
}

type planesF []planeF

// floats holds the intermediate planes of one worker.
type floats struct {
	across, down table
	half, spare  planeF
	row          []float32 // of the image, scaled
}

// resize cuts b out of the image of s, on a scale of 0…1, and resizes it. What a filter with negative lobes leaves
// outside of 0…1 stays there if open, else it is limited.
func (r *floats) resize(out planesF, s *data.Sample, b box, f Filter, flipX, flipY, open bool) {
	height, width := out[0].height, out[0].width
	r.across.build(f, b.width, 0, float64(b.width), width)
	r.down.build(f, b.height, 0, float64(b.height), height)
	factor, offset := s.Scale()
	r.row = grow(r.row, b.width)
	for c := range out {
		r.half.reset(b.height, width)
		for y := range b.height {
			s.Image.Row(c, b.top+y, b.left, r.row)
			for x, v := range r.row {
				r.row[x] = v*float32(factor) + float32(offset)
			}
			for x := range width {
				sum := float32(0)
				first := int(r.across.first[x])
				for k, w := range r.across.real[x*r.across.stride:][:r.across.count[x]] {
					sum += w * r.row[first+k]
				}
				at := x
				if flipX {
					at = width - 1 - x
				}
				r.half.pix[y*width+at] = sum
			}
		}
		for y := range height {
			at := y
			if flipY {
				at = height - 1 - y
			}
			dst := out[c].pix[at*width:][:width]
			clear(dst)
			first := int(r.down.first[y])
			for k, w := range r.down.real[y*r.down.stride:][:r.down.count[y]] {
				for x, s := range r.half.pix[(first+k)*width:][:width] {
					dst[x] += w * s
				}
			}
			if open {
				continue
			}
			for x, s := range dst {
				dst[x] = clamp1(s)
			}
		}
	}
}

func clamp1(v float32) float32 { return max(0, min(1, v)) }

func (v planesF) each(f func(float32) float32) {
	for c := range v {
		for i, s := range v[c].pix {
			v[c].pix[i] = clamp1(f(s))
		}
	}
}

func lumaF(r, g, b float32) float32 { return 0.299*r + 0.587*g + 0.114*b }

func (v planesF) contrast(factor float32) {
	if len(v) == 3 {
		sum := 0.0
		for i := range v[0].pix {
			sum += float64(lumaF(v[0].pix[i], v[1].pix[i], v[2].pix[i]))
		}
		mean := float32(sum / float64(len(v[0].pix)))
		v.each(func(s float32) float32 { return mean + factor*(s-mean) })
		return
	}
	for c := range v {
		sum := 0.0
		for _, s := range v[c].pix {
			sum += float64(s)
		}
		mean := float32(sum / float64(len(v[c].pix)))
		v[c : c+1].each(func(s float32) float32 { return mean + factor*(s-mean) })
	}
}

// pixels maps the three channels of each pixel.
func (v planesF) pixels(f func(r, g, b float32) (float32, float32, float32)) {
	for i := range v[0].pix {
		r, g, b := f(v[0].pix[i], v[1].pix[i], v[2].pix[i])
		v[0].pix[i], v[1].pix[i], v[2].pix[i] = clamp1(r), clamp1(g), clamp1(b)
	}
}

func (v planesF) saturate(factor float32) {
	v.pixels(func(r, g, b float32) (float32, float32, float32) {
		l := lumaF(r, g, b)
		return l + factor*(r-l), l + factor*(g-l), l + factor*(b-l)
	})
}

func (v planesF) turnHue(turns float64) {
	v.pixels(func(r, g, b float32) (float32, float32, float32) {
		top, bottom := max(r, g, b), min(r, g, b)
		chroma := top - bottom
		if chroma == 0 {
			return r, g, b
		}
		var h float64
		switch top {
		case r:
			h = float64((g - b) / chroma)
		case g:
			h = 2 + float64((b-r)/chroma)
		default:
			h = 4 + float64((r-g)/chroma)
		}
		h = math.Mod(h+6*turns+12, 6)
		x := chroma * float32(1-math.Abs(math.Mod(h, 2)-1))
		switch int(h) {
		case 0:
			return top, bottom + x, bottom
		case 1:
			return bottom + x, top, bottom
		case 2:
			return bottom, top, bottom + x
		case 3:
			return bottom, bottom + x, top
		case 4:
			return bottom + x, bottom, top
		}
		return top, bottom, bottom + x
	})
}

func (v planesF) grey() {
	v.pixels(func(r, g, b float32) (float32, float32, float32) {
		l := lumaF(r, g, b)
		return l, l, l
	})
}

// blur is the extended box filter of the 8-bit blur without its rounding.
func (r *floats) blur(p *planeF, sigma float64) {
	radius, extended := boxOf(sigma)
	inner := 1 / (2*extended + 1)
	outer := (1 - float32(2*radius+1)*inner) / 2
	r.spare.reset(p.height, p.width)
	for range passes {
		boxF(r.spare.pix, p.pix, p.height, p.width, p.width, 1, radius, inner, outer)
		p.pix, r.spare.pix = r.spare.pix, p.pix
	}
	for range passes {
		boxF(r.spare.pix, p.pix, p.width, p.height, 1, p.width, radius, inner, outer)
		p.pix, r.spare.pix = r.spare.pix, p.pix
	}
}

// boxF filters lines of n samples that lie step apart; the lines lie next apart.
func boxF(dst, src []float32, lines, n, next, step, radius int, inner, outer float32) {
	for l := range lines {
		base := l * next
		at := func(i int) float32 { return src[base+max(0, min(n-1, i))*step] }
		for i := range n {
			sum := float32(0)
			for k := -radius; k <= radius; k++ {
				sum += at(i + k)
			}
			dst[base+i*step] = sum*inner + (at(i-radius-1)+at(i+radius+1))*outer
		}
	}
}

// colour applies what comes after crop and flip.
func (v planesF) colour(d *choice, r *floats) {
	if d.jitter {
		for _, part := range d.order {
			factor := float32(d.factor[part])
			switch {
			case part == brightness:
				v.each(func(s float32) float32 { return s * factor })
			case part == contrast:
				v.contrast(factor)
			case len(v) != 3:
			case part == saturation:
				v.saturate(factor)
			default:
				v.turnHue(d.factor[hue])
			}
		}
	}
	if d.gamma != 0 {
		v.each(func(s float32) float32 { return float32(math.Pow(float64(s), d.gamma)) })
	}
	if d.grey && len(v) == 3 {
		v.grey()
	}
	if d.sigma > 0 {
		for c := range v {
			r.blur(&v[c], d.sigma)
		}
	}
	if d.solarise {
		v.each(func(s float32) float32 {
			if s >= 0.5 {
				return 1 - s
			}
			return s
		})
	}
}

// writeF normalises the rectangle of v at (top, left), channel-major.
func (n *normaliser) writeF(out []float32, v planesF, top, left, height, width int) {
	for c := range v {
		for y := range height {
			src := v[c].pix[(top+y)*v[c].width+left:][:width]
			dst := out[(c*height+y)*width:][:width]
			for x, s := range src {
				dst[x] = (s - n.mean[c]) / n.std[c]
			}
		}
	}
}
