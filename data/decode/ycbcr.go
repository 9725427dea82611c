package decode

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

// toRGB converts one row of YCbCr.
func toRGB(luma, cb, cr, r, g, b []uint8) {
	cb, cr, r, g, b = cb[:len(luma)], cr[:len(luma)], r[:len(luma)], g[:len(luma)], b[:len(luma)]
	for x, yy := range luma {
		v := int32(yy) + 256
		r[x] = clamped[v+crToR[cr[x]]]
		g[x] = clamped[v+(cbToG[cb[x]]+crToG[cr[x]])>>16]
		b[x] = clamped[v+cbToB[cb[x]]]
	}
}
