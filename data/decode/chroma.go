package decode

import (
	"sync"

	"github.com/dino-mx/dmx/data/decode/jpeg"
)

// widener brings the rows of one component to the width of the picture.
type widener struct {
	out []uint8
	sum []int32
}

var wideners = sync.Pool{New: func() any { return new(widener) }}

// row returns row y of the picture, w pixels, of which c has every sample or one for a few pixels. A plane of half width
// or half height is widened with the triangle filter (3/4 and 1/4 of the two nearest samples in each direction), as
// libjpeg does by default; other ratios repeat samples. The row stays valid until the next call.
func (s *widener) row(c *jpeg.Component, w, y int) []uint8 {
	wide, tall := c.Wide, c.Tall
	own := y / tall
	near := own // the row on the far side of the pixel row
	if tall == 2 {
		near = max(0, min(c.Height-1, own-1+2*(y&1)))
	}
	from, next := c.Pix[own*c.Stride:][:c.Width], c.Pix[near*c.Stride:][:c.Width]
	if wide == 1 && tall != 2 {
		return from
	}
	if len(s.out) < w+8 {
		s.out, s.sum = make([]uint8, w+8), make([]int32, w+8)
	}
	switch {
	case wide == 1:
		heighten(s.out[:w], from, next, y)
	case wide == 2 && tall <= 2 && c.Width > 2:
		s.widen(s.out, from, next, tall)
	default:
		for x := range w {
			s.out[x] = from[x/wide]
		}
	}
	return s.out[:w]
}

// widen doubles a row of samples to out with the triangle filter. Samples lie in the middle of their two
// pixels, so each pixel takes 3/4 of its own sample and 1/4 of the neighbour's; tall 2 does the same between this
// row and the nearer neighbour row first, keeping four extra bits until the end. The alternating rounding
// constants keep the mean unbiased.
func (s *widener) widen(out, own, near []uint8, tall int) {
	n := len(own)
	sum := s.sum[:n]
	var c1, c2, shift int32 = 1, 2, 2
	if tall == 2 {
		near = near[:n]
		for i, v := range own {
			sum[i] = 3*int32(v) + int32(near[i])
		}
		c1, c2, shift = 8, 7, 4
	} else {
		for i, v := range own {
			sum[i] = int32(v)
		}
	}
	out = out[:2*n]
	edge := c1
	if tall == 1 {
		edge = 0 // 4v >> 2 is v
	}
	prev, cur := sum[0], sum[0]
	out[0] = uint8((4*cur + edge) >> shift)
	for i := 0; i < n-1; i++ {
		next := sum[i+1]
		if i > 0 {
			out[2*i] = uint8((3*cur + prev + c1) >> shift)
		}
		out[2*i+1] = uint8((3*cur + next + c2) >> shift)
		prev, cur = cur, next
	}
	out[2*n-2] = uint8((3*cur + prev + c1) >> shift)
	if tall == 1 {
		out[2*n-1] = uint8(cur)
	} else {
		out[2*n-1] = uint8((4*cur + c2) >> shift)
	}
}

// heighten is widen in the other direction: row y of samples of full width and half height.
func heighten(out, own, near []uint8, y int) {
	own, near = own[:len(out)], near[:len(out)]
	bias := int32(1 + y&1)
	for x := range out {
		out[x] = uint8((3*int32(own[x]) + int32(near[x]) + bias) >> 2)
	}
}
