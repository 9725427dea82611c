package augment

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
	// The remainder of division by 1; the sum lies between 5/6 and 11/6.
	turns := float64(hue)/6 + 1
	if turns >= 1 {
		turns--
	}
	hue = float32(turns)
	return uint8(min(255, int(float64(hue)*255))), uint8(min(255, int(float64(sat)*255))), top
}

// Where a level of hue lies on the circle of six sectors, and a level of saturation as a share.
var (
	sectors   [256]uint8
	fractions [256]float32
	shares    [256]float32
)

func init() {
	for i := range 256 {
		sector := int(float32(i) * 6 / 255)
		sectors[i] = uint8(sector % 6)
		fractions[i] = float32(float64(i)*6/255 - float64(sector))
		shares[i] = float32(float64(i) / 255)
	}
}

func fromHSV(h, s, v uint8) (r, g, b uint8) {
	if s == 0 {
		return v, v, v
	}
	f, fs, top := fractions[h], shares[s], float64(v)
	p := level(top * (1 - float64(fs)))
	switch sectors[h] {
	case 0:
		return v, level(top * (1 - float64(fs)*(1-float64(f)))), p
	case 1:
		return level(top * (1 - float64(fs*f))), v, p
	case 2:
		return p, v, level(top * (1 - float64(fs)*(1-float64(f))))
	case 3:
		return p, level(top * (1 - float64(fs*f))), v
	case 4:
		return level(top * (1 - float64(fs)*(1-float64(f)))), p, v
	}
	return v, p, level(top * (1 - float64(fs*f)))
}

// level rounds what lies between 0 and 255 half away from zero.
func level(v float64) uint8 { return uint8(int(v + 0.5)) }

// hue8 turns the hue by so many levels of 256, wrapping.
func hue8(r, g, b []uint8, shift uint8) {
	g, b = g[:len(r)], b[:len(r)]
	for i := range r {
		h, s, v := toHSV(r[i], g[i], b[i])
		r[i], g[i], b[i] = fromHSV(h+shift, s, v)
	}
}
