package augment

// lanes is the multiple to which the rows of working planes are padded, so that vector kernels need no tail: they
// compute the padding too, and nothing reads it.
const lanes = 32

func padded(n int) int { return (n + lanes - 1) &^ (lanes - 1) }

// plane8 is one channel of 8-bit samples with padded rows.
type plane8 struct {
	pix           []uint8
	height, width int
	stride        int
}

// reset makes room for height x width samples and for kernels that read a few lanes past a row.
func (p *plane8) reset(height, width int) {
	p.height, p.width, p.stride = height, width, padded(width)
	p.pix = grow(p.pix, padded(height)*p.stride+lanes)
}

// planes8 is a picture of such channels.
type planes8 []plane8

func (v planes8) reset(height, width int) {
	for c := range v {
		v[c].reset(height, width)
	}
}
