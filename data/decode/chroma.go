package decode

import "sync"

// chromaRows is the scratch of one conversion.
type chromaRows struct {
	cb, cr []uint8
	sum    []int32
}

var rows = sync.Pool{New: func() any { return new(chromaRows) }}

func (s *chromaRows) resize(n int) {
	if len(s.cb) < n {
		s.cb, s.cr, s.sum = make([]uint8, n), make([]uint8, n), make([]int32, n)
	}
}

// widen doubles a row of chroma samples to out with the triangle filter. Samples lie in the middle of their two
// pixels, so each pixel takes 3/4 of its own sample and 1/4 of the neighbour's; tall 2 does the same between this
// chroma row and the nearer neighbour row first, keeping four extra bits until the end. The alternating rounding
// constants keep the mean unbiased.
func (s *chromaRows) widen(out, own, near []uint8, tall int) {
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
