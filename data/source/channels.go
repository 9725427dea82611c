package source

import "github.com/dino-mx/dmx/data"

// convert turns a picture of 1 to 4 channels (grey, grey and alpha, colours, colours and alpha) into one of 1 or 3.
// Grey is spread over three channels, colours become their luma, alpha is dropped.
func convert(m *data.Image, channels int) {
	n := m.Height * m.Width
	stored := m.Channels
	if stored <= 2 {
		m.Channels = 1
	} else {
		m.Channels = 3
	}
	switch m.Type {
	case data.U8:
		m.U8 = planes(m.U8, m.Channels, channels, n, luma[uint8])
	case data.U16:
		m.U16 = planes(m.U16, m.Channels, channels, n, luma[uint16])
	case data.I16:
		m.I16 = planes(m.I16, m.Channels, channels, n, luma[int16])
	case data.F32:
		m.F32 = planes(m.F32, m.Channels, channels, n, func(r, g, b float32) float32 { return .299*r + .587*g + .114*b })
	}
	m.Channels = channels
}

// planes turns have planes of n samples, 1 or 3, into want.
func planes[T any](p []T, have, want, n int, luma func(r, g, b T) T) []T {
	switch {
	case have == want:
		return p[:want*n]
	case want == 1:
		for i := range n {
			p[i] = luma(p[i], p[n+i], p[2*n+i])
		}
		return p[:n]
	}
	grey := p[:n]
	if cap(p) < 3*n {
		p = make([]T, 3*n, 3*n+64)
		copy(p, grey)
	}
	p = p[:3*n]
	copy(p[n:2*n], grey)
	copy(p[2*n:], grey)
	return p
}

// luma is the weighted sum of ITU-R BT.601 in 16-bit fixed point, as Pillow's convert("L") computes it.
func luma[T uint8 | uint16 | int16](r, g, b T) T {
	return T((19595*int64(r) + 38470*int64(g) + 7471*int64(b) + 1<<15) >> 16)
}
