// Package jpeg reads baseline and progressive JPEG streams to planes of components, bit for bit as libjpeg does: the
// inverse transform is its exact one of 13-bit constants. What the components mean, and how smaller planes are
// widened, is left to the caller.
package jpeg

import (
	"errors"
	"fmt"
)

// Unsupported is a property of a valid stream that is not read.
type Unsupported string

func (u Unsupported) Error() string { return string(u) }

// Component is one plane of samples.
type Component struct {
	ID   byte
	H, V int // sampling factors, 1 to 4

	Wide, Tall int // pixels that a sample stands for

	// Width and Height are of the samples that belong to the picture; the plane is larger, up to whole blocks.
	Width, Height, Stride int
	Pix                   []byte

	quant      int     // number of the quantisation table
	coeffs     []int16 // of a progressive stream, 64 a block
	wide, tall int     // blocks of the plane
}

// Header is what the segments up to the frame header announce.
type Header struct {
	Width, Height int
	Components    []Component // without samples if only the header was read

	JFIF  bool
	Adobe int // the colour transform of Adobe's segment, -1 without one

	progressive bool
	maxH, maxV  int
}

// The markers that are told apart.
const (
	markerSOF0 = 0xc0 // baseline
	markerSOF1 = 0xc1 // extended, with Huffman codes
	markerSOF2 = 0xc2 // progressive
	markerDHT  = 0xc4
	markerSOI  = 0xd8
	markerEOI  = 0xd9
	markerSOS  = 0xda
	markerDQT  = 0xdb
	markerDRI  = 0xdd
	markerAPP0 = 0xe0
	markerAPPE = 0xee
)

var errShort = errors.New("the stream ends early")

// maxScans bounds the work that a small hostile stream can ask for.
const maxScans = 1000

// reader is the state of reading one stream.
type reader struct {
	Header
	b  []byte
	at int

	quant   [4][64]uint16 // in zigzag order
	defined [4]bool
	huff    [2][4]table // DC and AC
	restart int         // MCUs between restart markers, 0 for none
	scans   int
	bits    bits
}

// ReadHeader reads what comes before the first scan.
func ReadHeader(b []byte) (Header, error) {
	r := reader{b: b}
	err := r.read(true)
	return r.Header, err
}

// Decode reads all scans of the stream, up to its end marker.
func Decode(b []byte) (Header, error) {
	r := reader{b: b}
	if err := r.read(false); err != nil {
		return Header{}, err
	}
	if r.progressive {
		r.reconstruct()
	}
	return r.Header, nil
}

// read walks the segments, up to the first scan if only the header is wanted.
func (r *reader) read(headerOnly bool) error {
	r.Adobe = -1
	if len(r.b) < 2 || r.b[0] != 0xff || r.b[1] != markerSOI {
		return errors.New("no start marker")
	}
	r.at = 2
	for {
		marker, err := r.nextMarker()
		if err != nil {
			return err
		}
		switch {
		case marker == markerEOI:
			if r.scans == 0 {
				return errors.New("it holds no picture")
			}
			return nil
		case marker == markerSOI, marker >= 0xd0 && marker <= 0xd7, marker == 0x01: // stray ones, without a length
			continue
		}
		if r.at+2 > len(r.b) {
			return errShort
		}
		n := int(r.b[r.at])<<8 | int(r.b[r.at+1])
		if n < 2 || r.at+n > len(r.b) {
			return errShort
		}
		body := r.b[r.at+2 : r.at+n]
		r.at += n
		switch marker {
		case markerSOF0, markerSOF1, markerSOF2:
			r.progressive = marker == markerSOF2
			err = r.frame(body)
		case 0xc3:
			err = Unsupported("lossless coding")
		case 0xc5, 0xc6, 0xc7, 0xcd, 0xce, 0xcf:
			err = Unsupported("hierarchical coding")
		case 0xc9, 0xca, 0xcb, 0xcc:
			err = Unsupported("arithmetic coding")
		case markerDHT:
			err = r.huffmanTables(body)
		case markerDQT:
			err = r.quantTables(body)
		case markerDRI:
			if len(body) < 2 {
				return errShort
			}
			r.restart = int(body[0])<<8 | int(body[1])
		case markerAPP0:
			r.JFIF = r.JFIF || len(body) >= 5 && string(body[:5]) == "JFIF\x00"
		case markerAPPE:
			if len(body) >= 12 && string(body[:5]) == "Adobe" {
				r.Adobe = int(body[11])
			}
		case markerSOS:
			if headerOnly {
				if r.Components == nil {
					err = errors.New("a scan comes before the frame header")
				}
				return err
			}
			err = r.scan(body)
		}
		if err != nil {
			return err
		}
	}
}

// nextMarker passes over anything up to a marker, as libjpeg does.
func (r *reader) nextMarker() (byte, error) {
	for ; r.at+1 < len(r.b); r.at++ {
		if m := r.b[r.at+1]; r.b[r.at] == 0xff && m != 0 && m != 0xff {
			r.at += 2
			return m, nil
		}
	}
	return 0, errors.New("the stream ends without an end marker")
}

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

// mcus is the number of minimum coded units of an interleaved scan.
func (r *reader) mcus() (across, down int) {
	return (r.Width + 8*r.maxH - 1) / (8 * r.maxH), (r.Height + 8*r.maxV - 1) / (8 * r.maxV)
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
