package decode

import (
	"image"

	"github.com/dino-mx/dmx/data"
)

// fromVideo converts the planes of a VP8 frame to RGB. They hold ITU-R BT.601 in the range of video, luma 16…235 and
// chroma 16…240, not the full range of JPEG. The arithmetic is that of libwebp, in fixed point with 14 bits:
//
//	R = 1.164 (Y-16) + 1.596 (V-128)
//	G = 1.164 (Y-16) - 0.391 (U-128) - 0.813 (V-128)
//	B = 1.164 (Y-16) + 2.018 (U-128)
//
// with the chroma of a pixel 9/16 of its nearest sample, 3/16 of each of the next two and 1/16 of the one across.
func fromVideo(p *image.YCbCr, m *data.Image) {
	w, h := m.Width, m.Height
	cw, ch := (w+1)/2, (h+1)/2
	cb, cr := make([]byte, w), make([]byte, w)
	r, g, b := m.Plane8(0), m.Plane8(1), m.Plane8(2)
	for y := range h {
		own := y / 2
		near := max(0, min(ch-1, own-1+2*(y&1)))
		diamond(cb, p.Cb[own*p.CStride:own*p.CStride+cw], p.Cb[near*p.CStride:near*p.CStride+cw])
		diamond(cr, p.Cr[own*p.CStride:own*p.CStride+cw], p.Cr[near*p.CStride:near*p.CStride+cw])
		luma := p.Y[y*p.YStride : y*p.YStride+w]
		for x, yy := range luma {
			l, u, v := int(yy)*19077>>8, int(cb[x]), int(cr[x])
			at := y*w + x
			r[at] = video8(l + v*26149>>8 - 14234)
			g[at] = video8(l - u*6419>>8 - v*13320>>8 + 8708)
			b[at] = video8(l + u*33050>>8 - 17685)
		}
	}
}

// video8 takes six bits of fraction away.
func video8(v int) uint8 { return uint8(max(0, min(255, v>>6))) }

// diamond doubles a row of chroma samples to out; near is the next chroma row on the side of the pixel row.
func diamond(out, own, near []uint8) {
	last := len(out) - 1
	out[0] = uint8((3*int(own[0]) + int(near[0]) + 2) >> 2)
	if last&1 == 1 { // the last pixel lies beyond the last sample
		n := len(own) - 1
		out[last] = uint8((3*int(own[n]) + int(near[n]) + 2) >> 2)
	}
	for i := 1; i < len(own); i++ {
		a, b := int(own[i-1]), int(own[i])
		c, d := int(near[i-1]), int(near[i])
		sum := a + b + c + d + 8
		// The two averages are rounded down, as libwebp does them.
		out[2*i-1] = uint8(((sum+2*(b+c))>>3 + a) >> 1)
		if 2*i <= last {
			out[2*i] = uint8(((sum+2*(a+d))>>3 + b) >> 1)
		}
	}
}
