package decode

import (
	"image"

	"github.com/dino-mx/dmx/data"
)

// The JPEG colour conversion of JFIF (ITU-R BT.601, full range) in 16-bit fixed point with rounding, the arithmetic
// of the common C decoders:
//
//	R = Y + 1.40200 Cr,  G = Y - 0.34414 Cb - 0.71414 Cr,  B = Y + 1.77200 Cb
var crToR, crToG, cbToG, cbToB [256]int32

func init() {
	const half = 1 << 15
	for i := range 256 {
		v := int32(i) - 128
		crToR[i] = (91881*v + half) >> 16
		cbToB[i] = (116130*v + half) >> 16
		crToG[i] = -46802 * v
		cbToG[i] = -22554*v + half
	}
}

// clamped limits values from -256 to 511 to 0…255 without a branch.
var clamped [768]uint8

func init() {
	for i := range clamped {
		clamped[i] = uint8(max(0, min(255, i-256)))
	}
}

// fromYCbCr converts p to planar RGB. Chroma planes of half size are widened with the triangle filter (3/4 and 1/4
// of the two nearest samples in each direction), as the common C decoders do by default; other ratios repeat samples.
func fromYCbCr(p *image.YCbCr, m *data.Image) {
	w, h := m.Width, m.Height
	var wide, tall int // chroma samples are wide x tall pixels
	switch p.SubsampleRatio {
	case image.YCbCrSubsampleRatio444:
		wide, tall = 1, 1
	case image.YCbCrSubsampleRatio422:
		wide, tall = 2, 1
	case image.YCbCrSubsampleRatio420:
		wide, tall = 2, 2
	case image.YCbCrSubsampleRatio440:
		wide, tall = 1, 2
	case image.YCbCrSubsampleRatio411:
		wide, tall = 4, 1
	default:
		wide, tall = 4, 2
	}
	cw, ch := (w+wide-1)/wide, (h+tall-1)/tall
	row := rows.Get().(*chromaRows)
	defer rows.Put(row)
	row.resize(w + 8)
	r, g, b := m.Plane8(0), m.Plane8(1), m.Plane8(2)
	for y := range h {
		var cb, cr []byte
		switch {
		case wide == 1 && tall == 1:
			cb, cr = p.Cb[y*p.CStride:y*p.CStride+w], p.Cr[y*p.CStride:y*p.CStride+w]
		case wide == 2 && cw > 2:
			cy := y / tall
			near := cy // the chroma row on the far side of the pixel row
			if tall == 2 {
				near = max(0, min(ch-1, cy-1+2*(y&1)))
			}
			row.widen(row.cb, p.Cb[cy*p.CStride:cy*p.CStride+cw], p.Cb[near*p.CStride:near*p.CStride+cw], tall)
			row.widen(row.cr, p.Cr[cy*p.CStride:cy*p.CStride+cw], p.Cr[near*p.CStride:near*p.CStride+cw], tall)
			cb, cr = row.cb[:w], row.cr[:w]
		default:
			at := y / tall * p.CStride
			for x := range w {
				row.cb[x], row.cr[x] = p.Cb[at+x/wide], p.Cr[at+x/wide]
			}
			cb, cr = row.cb[:w], row.cr[:w]
		}
		toRGB(p.Y[y*p.YStride:y*p.YStride+w], cb, cr, r[y*w:(y+1)*w], g[y*w:(y+1)*w], b[y*w:(y+1)*w])
	}
}

// toRGB converts one row.
func toRGB(luma, cb, cr, r, g, b []uint8) {
	cb, cr, r, g, b = cb[:len(luma)], cr[:len(luma)], r[:len(luma)], g[:len(luma)], b[:len(luma)]
	for x, yy := range luma {
		v := int32(yy) + 256
		r[x] = clamped[v+crToR[cr[x]]]
		g[x] = clamped[v+(cbToG[cb[x]]+crToG[cr[x]])>>16]
		b[x] = clamped[v+cbToB[cb[x]]]
	}
}
