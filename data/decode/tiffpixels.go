package decode

import (
	"bytes"
	"errors"

	"github.com/dino-mx/dmx/data"
)

// row returns room for row r of plane p of a chunk with the given number of samples a row.
func (s *tiffScratch) row(p, r, rows, samples int) []uint16 {
	from := (p*rows + r) * samples
	if need := from + samples; len(s.samples) < need {
		s.samples = append(s.samples, make([]uint16, need-len(s.samples))...)
	}
	return s.samples[from : from+samples]
}

// unpack makes numbers of a row of packed samples.
func (t *tiffInfo) unpack(out []uint16, packed []byte) {
	switch t.bits {
	case 8:
		for x := range out {
			out[x] = uint16(packed[x])
		}
	case 16:
		for x := range out {
			out[x] = t.file.order.Uint16(packed[2*x:])
		}
	default:
		each, mask := 8/t.bits, byte(1<<t.bits-1)
		for x := range out {
			out[x] = uint16(packed[x/each] >> (8 - t.bits - x%each*t.bits) & mask)
		}
	}
}

// convert writes w pixels of row r of a chunk to the first n planes of m, from (x, y) on.
func (t *tiffInfo) convert(s *tiffScratch, r, rows, x, y, w, n int, m *data.Image) {
	at := y*t.width + x
	samples := t.wide * t.chunkSamples()
	// sample returns where sample c of the first pixel is, and how far the next pixel's is.
	sample := func(c int) ([]uint16, int) {
		if t.separate {
			return s.row(c, r, rows, samples), 1
		}
		return s.row(0, r, rows, samples)[c:], t.samples
	}
	switch {
	case t.palette != nil:
		in, step := sample(0)
		for c := range n {
			out := m.Plane8(c)[at : at+w]
			for i := range out {
				out[i] = t.palette[c][in[i*step]]
			}
		}
	case t.photometric == tiffCMYK:
		black, step := sample(3)
		for c := range 3 {
			in, _ := sample(c)
			out := m.Plane8(c)[at : at+w]
			for i := range out {
				out[i] = inkToLight(uint8(in[i*step]>>(t.bits-8)), uint8(black[i*step]>>(t.bits-8)))
			}
		}
	case t.photometric == tiffYCbCr:
		luma, step := sample(0)
		cb, _ := sample(1)
		cr, _ := sample(2)
		red, green, blue := m.Plane8(0)[at:], m.Plane8(1)[at:], m.Plane8(2)[at:]
		for i := range w {
			one := func(in []uint16) []uint8 { return []uint8{uint8(in[i*step])} }
			toRGB(one(luma), one(cb), one(cr), red[i:], green[i:], blue[i:])
		}
	default:
		top := 1<<t.bits - 1
		for c := range n {
			in, step := sample(c)
			for i := range w {
				v := int(in[i*step])
				if t.alpha == tiffPremultiplied {
					a, by := sample(t.colours)
					v = unmultiply(v, int(a[i*by]), t.bits)
				}
				if t.photometric == tiffWhiteIsZero {
					v = top - v
				}
				if t.bits == 16 {
					m.Plane16(c)[at+i] = uint16(v)
				} else {
					m.Plane8(c)[at+i] = uint8(v * 255 / top)
				}
			}
		}
	}
}

// unmultiply undoes the multiplication of a colour by alpha, both of 8 or 16 bits, as Pillow does: with the high bytes,
// an alpha of 0 giving 0 and a colour above its alpha full intensity.
func unmultiply(v, alpha, bits int) int {
	high, a := v>>(bits-8), alpha>>(bits-8)
	switch {
	case a == 0:
		return 0
	case a == 255:
		return v
	}
	high = min(255, high*255/a)
	if bits == 16 {
		return high * 257
	}
	return high
}

// jpegChunk decodes chunk i, a JPEG stream, to w x rows pixels of m at (x, y): plane p of separate ones, else all n.
func (t *tiffInfo) jpegChunk(i, p, x, y, w, rows, n int, m *data.Image) error {
	b, err := t.stored(i)
	if err != nil {
		return err
	}
	if len(b) < 4 {
		return errors.New("its JPEG stream is empty")
	}
	if len(t.tables) > 4 {
		// A stream of tables alone ends in an end marker, in place of which the chunk's segments follow.
		b = append(bytes.Clone(t.tables[:len(t.tables)-2]), b[2:]...)
	}
	stream, err := jpegPlanes(b, t.chunkSamples(), w, rows, t.wide, t.tall)
	if err != nil {
		return err
	}
	var chunk data.Image
	chunk.Reset(min(3, t.chunkSamples()), stream.Height, stream.Width, data.U8)
	colours := map[int]jpegColour{tiffRGB: jpegRGB, tiffYCbCr: jpegYCbCr, tiffCMYK: jpegCMYK}
	colour := colours[t.photometric] // else grey
	if t.separate {
		colour = jpegGrey
	}
	fromComponents(stream, &chunk, colour, false)
	if t.separate {
		if t.photometric != tiffRGB && t.photometric != tiffBlackIsZero {
			return unsupported("JPEG compression of separate planes that are not RGB")
		}
		n = 1
	}
	for c := range n {
		in, out := chunk.Plane8(c), m.Plane8(p+c)
		for r := range rows {
			copy(out[(y+r)*t.width+x:][:w], in[r*chunk.Width:])
		}
	}
	return nil
}
