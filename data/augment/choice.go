package augment

import (
	"math"

	"github.com/dino-mx/dmx/tensor"
)

// The four parts of the colour jitter.
const (
	brightness = iota
	contrast
	saturation
	hue
)

// choice is everything that is random in one view.
type choice struct {
	box          box
	flipX, flipY bool
	jitter       bool
	order        [4]int     // of the parts of the jitter
	factor       [4]float64 // by part; the hue is a shift in turns
	gamma        float64    // 0 for none
	grey         bool
	sigma        float64 // of the blur, 0 for none
	solarise     bool
}

// draw makes the choices for view i of a kind, in the order of the fields.
func (c *Config) draw(r *tensor.Rand, v *View, i, height, width int) choice {
	var d choice
	d.box = randomBox(r, height, width, v.Scale)
	d.flipX = r.Bool(c.HorizontalFlip)
	d.flipY = r.Bool(c.VerticalFlip)
	if d.jitter = r.Bool(c.JitterProb); d.jitter {
		d.order = [4]int{brightness, contrast, saturation, hue}
		for i := 3; i > 0; i-- {
			j := r.Intn(i + 1)
			d.order[i], d.order[j] = d.order[j], d.order[i]
		}
		for i, span := range [3]float64{c.Brightness, c.Contrast, c.Saturation} {
			d.factor[i] = r.Uniform(max(0, 1-span), 1+span)
		}
		d.factor[hue] = r.Uniform(-c.Hue, c.Hue)
	}
	if r.Bool(c.GammaProb) {
		d.gamma = r.Uniform(c.GammaRange[0], c.GammaRange[1])
	}
	d.grey = r.Bool(c.GrayProb)
	if r.Bool(of(v.Blur, i)) {
		d.sigma = r.Uniform(c.BlurSigma[0], c.BlurSigma[1])
	}
	d.solarise = r.Bool(of(v.Solarise, i))
	return d
}

// The range of the aspect ratio (width over height) of a crop, and the tries before the centre is taken.
const (
	minAspect = 3. / 4
	maxAspect = 4. / 3
	tries     = 10
)

// randomBox is the random resized crop: an area drawn from scale times the image's, an aspect ratio whose logarithm
// is uniform, a uniform place. After ten boxes that do not fit it is the largest centred one within the aspect range.
func randomBox(r *tensor.Rand, height, width int, scale [2]float64) box {
	area := float64(height) * float64(width)
	for range tries {
		a := area * r.Uniform(scale[0], scale[1])
		aspect := math.Exp(r.Uniform(math.Log(minAspect), math.Log(maxAspect)))
		w := int(math.RoundToEven(math.Sqrt(a * aspect)))
		h := int(math.RoundToEven(math.Sqrt(a / aspect)))
		if w > 0 && w <= width && h > 0 && h <= height {
			top := r.Intn(height - h + 1)
			return box{top: top, left: r.Intn(width - w + 1), height: h, width: w}
		}
	}
	h, w := height, width
	switch aspect := float64(width) / float64(height); {
	case aspect < minAspect:
		h = min(height, int(math.RoundToEven(float64(w)/minAspect)))
	case aspect > maxAspect:
		w = min(width, int(math.RoundToEven(float64(h)*maxAspect)))
	}
	return box{top: (height - h) / 2, left: (width - w) / 2, height: h, width: w}
}
