package augment

import "fmt"

// normaliser maps samples scaled to 0…1 to (x - mean) / std, in float32.
type normaliser struct {
	mean, std []float32
	levels    [][256]float32 // of 8-bit samples, by channel
}

func newNormaliser(channels int, mean, std []float64) (*normaliser, error) {
	n := &normaliser{mean: make([]float32, channels), std: make([]float32, channels), levels: make([][256]float32, channels)}
	for _, p := range []struct {
		name string
		from []float64
		to   []float32
	}{{"mean", mean, n.mean}, {"std", std, n.std}} {
		if len(p.from) != 1 && len(p.from) != channels {
			return nil, fmt.Errorf("%s has %d values, expected 1 or one for each of %d channels", p.name, len(p.from), channels)
		}
		for c := range p.to {
			p.to[c] = float32(p.from[c%len(p.from)])
		}
	}
	for c := range channels {
		if !(n.std[c] > 0) {
			return nil, fmt.Errorf("std of channel %d is %v, expected more than 0", c, n.std[c])
		}
		for i := range n.levels[c] {
			n.levels[c][i] = (float32(i)/255 - n.mean[c]) / n.std[c]
		}
	}
	return n, nil
}

// write8 normalises the rectangle of v at (top, left) with out's size, channel-major.
func (n *normaliser) write8(out []float32, v planes8, top, left, height, width int) {
	for c := range v {
		t := &n.levels[c]
		for y := range height {
			at := (top+y)*v[c].stride + left
			src := v[c].pix[at : at+width]
			dst := out[(c*height+y)*width:][:width]
			for x, s := range src {
				dst[x] = t[s]
			}
		}
	}
}
