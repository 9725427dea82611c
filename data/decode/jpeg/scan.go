package jpeg

import (
	"errors"
	"fmt"
)

// zigzag is the place of a coefficient in its block, by its place in the stream.
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// scanHeader is what a scan holds.
type scanHeader struct {
	part        []scanPart
	first, last int // coefficients, in the order of the stream
	high, low   int // the bit before the first, and the bit down to which coefficients are given
	eobRun      int // blocks that still end here
}

// scanPart is a component of a scan.
type scanPart struct {
	c      *Component
	dc, ac *table
	pred   int // the DC coefficient of the block before
}

// scanHeader reads the header of a scan (sections B.2.3 and G.1.1.1.1).
func (r *reader) scanHeader(b []byte) (h scanHeader, err error) {
	if r.Components == nil {
		return h, errors.New("a scan comes before the frame header")
	}
	if len(b) < 1 {
		return h, errShort
	}
	n := int(b[0])
	if n < 1 || n > 4 || len(b) < 4+2*n {
		return h, errors.New("a bad scan header")
	}
	blocks := 0
	for i := range n {
		id, tables := b[1+2*i], b[2+2*i]
		if tables>>4 > 3 || tables&15 > 3 {
			return h, errors.New("a bad scan header")
		}
		p := scanPart{dc: &r.huff[0][tables>>4], ac: &r.huff[1][tables&15]}
		for c := range r.Components {
			if r.Components[c].ID == id {
				p.c = &r.Components[c]
			}
		}
		if p.c == nil {
			return h, fmt.Errorf("a scan of component %d, which the frame header does not name", id)
		}
		for _, other := range h.part {
			if other.c == p.c {
				return h, fmt.Errorf("a scan that holds component %d twice", id)
			}
		}
		blocks += p.c.H * p.c.V
		h.part = append(h.part, p)
	}
	if n > 1 && blocks > 10 {
		return h, errors.New("a scan of more than 10 blocks a unit")
	}
	h.last = 63
	if r.progressive {
		b = b[1+2*n:]
		h.first, h.last, h.high, h.low = int(b[0]), int(b[1]), int(b[2]>>4), int(b[2]&15)
		switch {
		case h.first > h.last, h.last > 63, h.first == 0 && h.last != 0, h.first > 0 && n > 1:
			return h, fmt.Errorf("a scan of coefficients %d to %d of %d components", h.first, h.last, n)
		case h.low > 13, h.high != 0 && h.high != h.low+1:
			return h, fmt.Errorf("a scan of bits %d to %d", h.high, h.low)
		}
	}
	for _, p := range h.part {
		if !r.progressive && !r.defined[p.c.quant] {
			return h, fmt.Errorf("quantisation table %d is missing", p.c.quant)
		}
		if h.first == 0 && h.high == 0 && !p.dc.defined || h.last > 0 && !p.ac.defined {
			return h, errors.New("a Huffman table is missing")
		}
	}
	return h, nil
}

// scan reads one scan.
func (r *reader) scan(b []byte) error {
	h, err := r.scanHeader(b)
	if err != nil {
		return err
	}
	if r.scans++; r.scans > maxScans {
		return Unsupported(fmt.Sprintf("more than %d scans", maxScans))
	}
	if r.scans == 1 {
		r.allocate()
	}
	for _, p := range h.part {
		for k := h.first; k <= h.last; k++ {
			p.c.precision[k] = h.low + 1
		}
	}
	r.bits = bits{b: r.b, at: r.at}
	across, down := r.mcus()
	if len(h.part) == 1 {
		c := h.part[0].c
		across, down = (c.Width+7)/8, (c.Height+7)/8
	}
	left, expected := r.restart, byte(0)
	for y := range down {
		for x := range across {
			if r.restart > 0 && left == 0 {
				if err := r.restartMarker(expected); err != nil {
					return err
				}
				expected = (expected + 1) & 7
				left, h.eobRun = r.restart, 0
				for i := range h.part {
					h.part[i].pred = 0
				}
			}
			left--
			if len(h.part) == 1 {
				if err := r.block(&h, &h.part[0], x, y); err != nil {
					return err
				}
				continue
			}
			for i := range h.part {
				p := &h.part[i]
				for v := range p.c.V {
					for u := range p.c.H {
						if err := r.block(&h, p, x*p.c.H+u, y*p.c.V+v); err != nil {
							return err
						}
					}
				}
			}
		}
	}
	r.at = r.bits.at
	return nil
}

// allocate makes the planes, and the coefficients of a progressive stream.
func (r *reader) allocate() {
	for i := range r.Components {
		c := &r.Components[i]
		c.Pix = make([]byte, 64*c.wide*c.tall)
		if r.progressive {
			c.coeffs = make([]int16, 64*c.wide*c.tall)
		}
	}
}

// restartMarker goes on behind the expected restart marker.
func (r *reader) restartMarker(expected byte) error {
	for at := r.bits.at; at+1 < len(r.b); at++ {
		m := r.b[at+1]
		if r.b[at] != 0xff || m == 0 || m == 0xff {
			continue
		}
		if m != 0xd0+expected {
			return fmt.Errorf("marker %02x in place of restart marker %d", m, expected)
		}
		r.bits = bits{b: r.b, at: at + 2}
		return nil
	}
	return errShort
}

// block reads what the scan holds of the block at column x and row y of a component.
func (r *reader) block(h *scanHeader, p *scanPart, x, y int) error {
	c := p.c
	if !r.progressive {
		var coeffs [64]int32
		if err := r.baseline(p, &coeffs); err != nil {
			return err
		}
		inverse(&coeffs, c.Pix[8*(y*c.Stride+x):], c.Stride)
		return nil
	}
	at := 64 * (y*c.wide + x)
	coeffs := (*[64]int16)(c.coeffs[at : at+64])
	switch {
	case h.first == 0 && h.high == 0:
		n, err := p.dc.decode(&r.bits)
		if err != nil {
			return err
		}
		d, ok := r.bits.extended(int(n & 15))
		if !ok {
			return errShort
		}
		p.pred += d
		coeffs[0] = int16(p.pred << h.low)
		return nil
	case h.first == 0:
		bit, ok := r.bits.take(1)
		if !ok {
			return errShort
		}
		coeffs[0] |= int16(bit << h.low)
		return nil
	case h.high == 0:
		return r.firstAC(h, p, coeffs)
	}
	return r.refineAC(h, p, coeffs)
}

// baseline reads a block and multiplies its coefficients with the quantisation table.
func (r *reader) baseline(p *scanPart, coeffs *[64]int32) error {
	quant := &r.quant[p.c.quant]
	n, err := p.dc.decode(&r.bits)
	if err != nil {
		return err
	}
	d, ok := r.bits.extended(int(n & 15))
	if !ok {
		return errShort
	}
	p.pred += d
	coeffs[0] = int32(int16(p.pred)) * int32(quant[0])
	for k := 1; k < 64; k++ {
		v, err := p.ac.decode(&r.bits)
		if err != nil {
			return err
		}
		run, size := int(v>>4), int(v&15)
		if size == 0 {
			if run != 15 {
				break
			}
			k += 15
			continue
		}
		k += run
		d, ok := r.bits.extended(size)
		if !ok {
			return errShort
		}
		if k > 63 {
			return errors.New("a block of more than 64 coefficients")
		}
		coeffs[zigzag[k]] = int32(d) * int32(quant[k])
	}
	return nil
}

// firstAC reads the first bits of some AC coefficients (section G.1.2.2).
func (r *reader) firstAC(h *scanHeader, p *scanPart, coeffs *[64]int16) error {
	if h.eobRun > 0 {
		h.eobRun--
		return nil
	}
	for k := h.first; k <= h.last; k++ {
		v, err := p.ac.decode(&r.bits)
		if err != nil {
			return err
		}
		run, size := int(v>>4), int(v&15)
		if size == 0 {
			if run == 15 {
				k += 15
				continue
			}
			return r.startRun(h, run)
		}
		k += run
		d, ok := r.bits.extended(size)
		if !ok {
			return errShort
		}
		if k > 63 {
			return errors.New("a block of more than 64 coefficients")
		}
		coeffs[zigzag[k]] = int16(d << h.low)
	}
	return nil
}

// startRun reads how many blocks, this one among them, end here; this one is counted off.
func (r *reader) startRun(h *scanHeader, size int) error {
	h.eobRun = 1 << size
	if size > 0 {
		more, ok := r.bits.take(size)
		if !ok {
			return errShort
		}
		h.eobRun += more
	}
	h.eobRun--
	return nil
}

// refineAC reads one more bit of some AC coefficients (section G.1.2.3).
func (r *reader) refineAC(h *scanHeader, p *scanPart, coeffs *[64]int16) error {
	step := int16(1) << h.low
	k := h.first
	if h.eobRun == 0 {
		for k <= h.last {
			v, err := p.ac.decode(&r.bits)
			if err != nil {
				return err
			}
			run, size := int(v>>4), int(v&15)
			fresh := int16(0)
			if size == 0 && run < 15 {
				if err := r.startRun(h, run); err != nil {
					return err
				}
				h.eobRun++ // this block is counted off below
				break
			}
			if size != 0 {
				bit, ok := r.bits.take(1)
				if !ok {
					return errShort
				}
				if fresh = -step; bit == 1 {
					fresh = step
				}
			}
			// The new coefficient goes to the place after run zeros; those that are not zero are refined on the way.
			for ; k <= h.last; k++ {
				at := zigzag[k]
				if coeffs[at] == 0 {
					if run == 0 {
						coeffs[at] = fresh
						k++
						break
					}
					run--
					continue
				}
				if err := r.refine(&coeffs[at], step); err != nil {
					return err
				}
			}
		}
	}
	if h.eobRun > 0 {
		for ; k <= h.last; k++ {
			if c := &coeffs[zigzag[k]]; *c != 0 {
				if err := r.refine(c, step); err != nil {
					return err
				}
			}
		}
		h.eobRun--
	}
	return nil
}

// refine reads the next bit of a coefficient that is not zero.
func (r *reader) refine(c *int16, step int16) error {
	bit, ok := r.bits.take(1)
	if !ok {
		return errShort
	}
	if bit == 1 && *c&step == 0 {
		if *c > 0 {
			*c += step
		} else {
			*c -= step
		}
	}
	return nil
}

// complete refuses a progressive stream without some of its scans. libjpeg smooths the blocks of such a picture if any of
// the coefficients that it estimates for that, the first nine behind DC, is not known to its last bit.
func (r *reader) complete() error {
	for i := range r.Components {
		for k := range 10 {
			if r.Components[i].precision[k] != 1 {
				return Unsupported("progressive coding without its last scans")
			}
		}
	}
	return nil
}

// reconstruct transforms the blocks of a progressive stream.
func (r *reader) reconstruct() {
	for i := range r.Components {
		c := &r.Components[i]
		var quant [64]int32
		for k, q := range r.quant[c.quant] {
			quant[zigzag[k]] = int32(q)
		}
		for y := range c.tall {
			for x := range c.wide {
				at := 64 * (y*c.wide + x)
				var coeffs [64]int32
				for k, v := range c.coeffs[at : at+64] {
					coeffs[k] = int32(v) * quant[k]
				}
				inverse(&coeffs, c.Pix[8*(y*c.Stride+x):], c.Stride)
			}
		}
		c.coeffs = nil
	}
}

// maxScans bounds the work that a small hostile stream can ask for.
const maxScans = 1000
