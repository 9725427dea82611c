package augment

import "math"

// lut is a map of 8-bit levels.
type lut [256]uint8

func (v planes8) apply(t *lut) {
	for c := range v {
		for i, s := range v[c].pix {
			v[c].pix[i] = t[s]
		}
	}
}

// brighten scales the levels by a factor.
func (v planes8) brighten(factor float64) {
	var t lut
	for i := range t {
		t[i] = blend(0, uint8(i), float32(factor))
	}
	v.apply(&t)
}

// contrast moves the levels from the mean luma, rounded to a level, by a factor. With other than three channels each
// moves from its own mean.
func (v planes8) contrast(factor float64) {
	around := func(sum uint64) *lut {
		n := float64(v[0].height * v[0].width)
		mean := uint8(float64(sum)/n + 0.5)
		var t lut
		for i := range t {
			t[i] = blend(mean, uint8(i), float32(factor))
		}
		return &t
	}
	if len(v) == 3 {
		sum := uint64(0)
		for y := range v[0].height {
			from, to := y*v[0].stride, y*v[0].stride+v[0].width
			sum += lumaSum8(v[0].pix[from:to], v[1].pix[from:to], v[2].pix[from:to])
		}
		v.apply(around(sum))
		return
	}
	for c := range v {
		sum := uint64(0)
		for y := range v[c].height {
			for _, s := range v[c].pix[y*v[c].stride : y*v[c].stride+v[c].width] {
				sum += uint64(s)
			}
		}
		v[c : c+1].apply(around(sum))
	}
}

func (v planes8) saturate(factor float64) {
	if factor != 1 {
		saturate8(v[0].pix, v[1].pix, v[2].pix, float32(factor))
	}
}

// turnHue shifts the hue by a part of a turn, cut to a level of 1/255.
func (v planes8) turnHue(turns float64) {
	hue8(v[0].pix, v[1].pix, v[2].pix, uint8(int32(turns*255)))
}

func (v planes8) grey() { grey8(v[0].pix, v[1].pix, v[2].pix) }

func (v planes8) gamma(g float64) {
	var t lut
	for i := range t {
		t[i] = uint8(255*math.Pow(float64(i)/255, g) + 0.5)
	}
	v.apply(&t)
}

// solarise inverts what is at or above half intensity.
func (v planes8) solarise() {
	var t lut
	for i := range t {
		t[i] = uint8(i)
		if i >= 128 {
			t[i] = uint8(255 - i)
		}
	}
	v.apply(&t)
}

// colour applies what comes after crop and flip.
func (v planes8) colour(d *choice, b *blurrer) {
	if d.jitter {
		for _, part := range d.order {
			switch {
			case part == brightness:
				v.brighten(d.factor[brightness])
			case part == contrast:
				v.contrast(d.factor[contrast])
			case len(v) != 3:
			case part == saturation:
				v.saturate(d.factor[saturation])
			default:
				v.turnHue(d.factor[hue])
			}
		}
	}
	if d.gamma != 0 {
		v.gamma(d.gamma)
	}
	if d.grey && len(v) == 3 {
		v.grey()
	}
	if d.sigma > 0 {
		for c := range v {
			b.blur8(&v[c], d.sigma)
		}
	}
	if d.solarise {
		v.solarise()
	}
}
