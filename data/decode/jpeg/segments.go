package jpeg

import (
	"errors"
	"fmt"
)

// frame reads a frame header.
func (r *reader) frame(b []byte) error {
	if r.Components != nil {
		return errors.New("a second frame header")
	}
	if len(b) < 6 || len(b) < 6+3*int(b[5]) {
		return errShort
	}
	if b[0] != 8 {
		return Unsupported(fmt.Sprintf("%d-bit samples", b[0]))
	}
	r.Height, r.Width = int(b[1])<<8|int(b[2]), int(b[3])<<8|int(b[4])
	if r.Height == 0 {
		return Unsupported("a height that follows the picture")
	}
	if r.Width == 0 {
		return errors.New("its width is 0")
	}
	n := int(b[5])
	if n != 1 && n != 3 && n != 4 {
		return Unsupported(fmt.Sprintf("%d components", n))
	}
	c := make([]Component, n)
	for i := range c {
		s := b[6+3*i:]
		c[i] = Component{ID: s[0], H: int(s[1] >> 4), V: int(s[1] & 15), quant: int(s[2])}
		for _, other := range c[:i] {
			if other.ID == c[i].ID {
				return fmt.Errorf("two components are called %d", c[i].ID)
			}
		}
		if c[i].H < 1 || c[i].H > 4 || c[i].V < 1 || c[i].V > 4 || c[i].quant > 3 {
			return fmt.Errorf("sampling factors %d x %d and quantisation table %d of component %d",
				c[i].H, c[i].V, c[i].quant, i)
		}
		if n == 1 {
			c[i].H, c[i].V = 1, 1
		}
		r.maxH, r.maxV = max(r.maxH, c[i].H), max(r.maxV, c[i].V)
	}
	across, down := r.mcus()
	for i := range c {
		if r.maxH%c[i].H != 0 || r.maxV%c[i].V != 0 {
			return Unsupported(fmt.Sprintf("sampling factors %d x %d beside %d x %d", c[i].H, c[i].V, r.maxH, r.maxV))
		}
		c[i].Wide, c[i].Tall = r.maxH/c[i].H, r.maxV/c[i].V
		c[i].Width = (r.Width + c[i].Wide - 1) / c[i].Wide
		c[i].Height = (r.Height + c[i].Tall - 1) / c[i].Tall
		c[i].wide, c[i].tall = across*c[i].H, down*c[i].V
		c[i].Stride = 8 * c[i].wide
	}
	r.Components = c
	return nil
}

func (r *reader) quantTables(b []byte) error {
	for len(b) > 0 {
		wide, n := b[0]>>4, b[0]&15
		size := 64 * (1 + int(wide))
		if wide > 1 || n > 3 || len(b) < 1+size {
			return errors.New("a bad quantisation table")
		}
		for i := range 64 {
			if wide == 0 {
				r.quant[n][i] = uint16(b[1+i])
			} else {
				r.quant[n][i] = uint16(b[1+2*i])<<8 | uint16(b[2+2*i])
			}
		}
		r.defined[n] = true
		b = b[1+size:]
	}
	return nil
}

// huffmanTables reads the tables of a segment (section C.2).
func (r *reader) huffmanTables(b []byte) error {
	for len(b) > 0 {
		if len(b) < 17 || b[0]>>4 > 1 || b[0]&15 > 3 {
			return errors.New("a bad Huffman table")
		}
		t := &r.huff[b[0]>>4][b[0]&15]
		counts, n := b[1:17], 0
		for _, c := range counts {
			n += int(c)
		}
		if n > 256 || len(b) < 17+n {
			return errors.New("a bad Huffman table")
		}
		*t = table{values: b[17 : 17+n], defined: true}
		code, at := 0, 0
		for k := 1; k <= 16; k++ {
			t.most[k], t.offset[k] = -1, at-code
			for range counts[k-1] {
				if code >= 1<<k {
					return errors.New("a bad Huffman table")
				}
				if k <= lookBits {
					first := code << (lookBits - k)
					for i := range 1 << (lookBits - k) {
						t.look[first+i] = uint16(t.values[at])<<8 | uint16(k)
					}
				}
				t.most[k] = code
				code++
				at++
			}
			code <<= 1
		}
		b = b[17+n:]
	}
	return nil
}
