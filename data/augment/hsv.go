package augment

import "math"

// The conversion between RGB and HSV is Pillow's: hue, saturation and value are levels of 0…255, hue and saturation cut
// rather than rounded, in float32 with float64 where C promotes. Levels lost there are part of the colour jitter
// that recipes were tuned with.

func toHSV(r, g, b uint8) (h, s, v uint8) {
	top, bottom := max(r, g, b), min(r, g, b)
	if top == bottom {
		return 0, 0, top
	}
	chroma := float32(top - bottom)
	sat := chroma / float32(top)
	rc, gc, bc := float32(top-r)/chroma, float32(top-g)/chroma, float32(top-b)/chroma
	var hue float32
	switch top {
	case r:
		hue = bc - gc
	case g:
		hue = float32(2 + float64(rc) - float64(bc))
	default:
		hue = float32(4 + float64(gc) - float64(rc))
	}
	hue = float32(math.Mod(float64(hue)/6+1, 1))
	return uint8(min(255, int(float64(hue)*255))), uint8(min(255, int(float64(sat)*255))), top
}

func fromHSV(h, s, v uint8) (r, g, b uint8) {
	if s == 0 {
		return v, v, v
	}
	sector := int(float32(h) * 6 / 255)
	f := float32(float64(h)*6/255 - float64(sector))
	fs := float32(float64(s) / 255)
	p := level(float64(v) * (1 - float64(fs)))
	q := level(float64(v) * (1 - float64(fs*f)))
	t := level(float64(v) * (1 - float64(fs)*(1-float64(f))))
	switch sector % 6 {
	case 0:
		return v, t, p
	case 1:
		return q, v, p
	case 2:
		return p, v, t
	case 3:
		return p, q, v
	case 4:
		return t, p, v
	}
	return v, p, q
}

// level rounds half away from zero.
func level(v float64) uint8 { return uint8(max(0, min(255, int(v+0.5)))) }

// huePortable8 turns the hue by so many levels of 256, wrapping.
func huePortable8(r, g, b []uint8, shift uint8) {
	g, b = g[:len(r)], b[:len(r)]
	for i := range r {
		h, s, v := toHSV(r[i], g[i], b[i])
		r[i], g[i], b[i] = fromHSV(h+shift, s, v)
	}
}
