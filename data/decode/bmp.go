package decode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/dino-mx/dmx/data"
)

// The compressions of BMP.
const (
	bmpRaw       = 0
	bmpRLE8      = 1
	bmpRLE4      = 2
	bmpBitfields = 3
)

// bmpInfo is the header of a BMP file.
type bmpInfo struct {
	width, height int
	topDown       bool
	bits          int
	compression   int
	masks         [3]uint32 // of red, green and blue in pixels of 16, 24 and 32 bits
	palette       *colours
	entries       int
	pixels        []byte
}

var errBMPShort = errors.New("the file ends in its header")

func readBMP(b []byte) (f bmpInfo, err error) {
	if len(b) < 18 {
		return f, errBMPShort
	}
	u16 := func(at int) int { return int(binary.LittleEndian.Uint16(b[at:])) }
	u32 := func(at int) int { return int(binary.LittleEndian.Uint32(b[at:])) }
	size, pixels := u32(14), u32(10)
	entry, used := 4, 0
	switch size {
	case 12:
		if len(b) < 26 {
			return f, errBMPShort
		}
		f.width, f.height, f.bits, entry = u16(18), u16(20), u16(24), 3
	case 40, 52, 56, 64, 108, 124:
		if len(b) < 14+size {
			return f, errBMPShort
		}
		f.width, f.height = int(int32(u32(18))), int(int32(u32(22)))
		if f.height < 0 {
			f.height, f.topDown = -f.height, true
		}
		f.bits, f.compression, used = u16(28), u32(30), u32(46)
	default:
		return f, unsupported(fmt.Sprintf("a header of %d bytes", size))
	}
	at := 14 + size // of what follows the header
	if err := f.layout(b, size, &at); err != nil {
		return f, err
	}
	if f.bits <= 8 {
		if f.entries = used; used == 0 {
			f.entries = 1 << f.bits
		}
		if f.entries > 1<<16 {
			return f, fmt.Errorf("its palette has %d entries", f.entries)
		}
		if at+entry*f.entries > len(b) {
			return f, errBMPShort
		}
		f.palette = newColours(b[at:], f.entries, entry, 2, 1, 0)
		at += entry * f.entries
	}
	if pixels == 0 {
		pixels = at
	}
	if pixels > len(b) {
		return f, errBMPShort
	}
	f.pixels = b[pixels:]
	return f, nil
}

// layout checks depth and compression and finds the masks of the colours; *at moves past masks that follow the header.
func (f *bmpInfo) layout(b []byte, size int, at *int) error {
	switch {
	case f.compression == bmpRLE8 && f.bits == 8, f.compression == bmpRLE4 && f.bits == 4:
		return nil
	case f.compression == bmpRLE8, f.compression == bmpRLE4:
		return fmt.Errorf("run-length compression %d with %d bits a pixel", f.compression, f.bits)
	case f.compression != bmpRaw && f.compression != bmpBitfields:
		return unsupported(fmt.Sprintf("compression %d", f.compression))
	}
	switch f.bits {
	case 1, 2, 4, 8:
		if f.compression != bmpRaw {
			return unsupported("bit fields and a palette")
		}
		return nil
	case 16:
		f.masks = [3]uint32{0x7c00, 0x3e0, 0x1f}
	case 24, 32:
		f.masks = [3]uint32{0xff0000, 0xff00, 0xff}
	default:
		return unsupported(fmt.Sprintf("%d bits a pixel", f.bits))
	}
	if f.compression == bmpRaw {
		return nil
	}
	from := *at
	if size >= 52 {
		from = 14 + 40
	} else {
		*at += 12
	}
	if from+12 > len(b) {
		return errBMPShort
	}
	var masks [3]uint32
	for c := range masks {
		masks[c] = binary.LittleEndian.Uint32(b[from+4*c:])
	}
	if masks == [3]uint32{} {
		return nil
	}
	for _, v := range masks {
		if wide := bits.Len32(v) - bits.TrailingZeros32(v); v == 0 || wide != bits.OnesCount32(v) || bits.Len32(v) > f.bits {
			return unsupported(fmt.Sprintf("bit fields %08x, %08x, %08x", masks[0], masks[1], masks[2]))
		}
	}
	f.masks = masks
	return nil
}

func bmpHead(b []byte) (head, error) {
	f, err := readBMP(b)
	if err != nil {
		return head{}, err
	}
	h := head{width: f.width, height: f.height, channels: 3}
	if f.bits <= 8 {
		h.channels = f.palette.channels(min(f.entries, 1<<f.bits))
	}
	return h, nil
}

func bmpDecode(b []byte, h head, channels int, m *data.Image) error {
	f, err := readBMP(b)
	if err != nil {
		return err
	}
	w := f.width
	stride := (w*f.bits + 31) / 32 * 4
	compressed := f.compression == bmpRLE8 || f.compression == bmpRLE4
	if need := stride * f.height; !compressed && len(f.pixels) < need-(stride-(w*f.bits+7)/8) {
		return fmt.Errorf("%d bytes of pixels, expected %d", len(f.pixels), need)
	}
	m.Reset(channels, h.height, h.width, data.U8)
	var indices []byte
	switch {
	case compressed:
		if indices, err = f.unrunLength(); err != nil {
			return err
		}
	case f.bits < 8:
		indices = make([]byte, w)
	}
	for y := range f.height {
		out := f.height - 1 - y
		if f.topDown {
			out = y
		}
		out *= w
		switch {
		case compressed:
			f.palette.fill(m, h.channels, out, indices[y*w:(y+1)*w])
		case f.bits < 8:
			unpackBits(indices, f.pixels[y*stride:], f.bits)
			f.palette.fill(m, h.channels, out, indices)
		case f.bits == 8:
			f.palette.fill(m, h.channels, out, f.pixels[y*stride:y*stride+w])
		default:
			f.maskedRow(m, out, f.pixels[y*stride:])
		}
	}
	return nil
}

// maskedRow writes a row of pixels of 16, 24 or 32 bits to the planes of m, from element at of each.
func (f *bmpInfo) maskedRow(m *data.Image, at int, row []byte) {
	size := f.bits / 8
	var shift, top [3]uint32
	for c, v := range f.masks {
		shift[c] = uint32(bits.TrailingZeros32(v))
		top[c] = v >> shift[c]
	}
	r, g, b := m.Plane8(0)[at:at+f.width], m.Plane8(1)[at:at+f.width], m.Plane8(2)[at:at+f.width]
	for x := range r {
		var v uint32
		for i := range size {
			v |= uint32(row[x*size+i]) << (8 * i)
		}
		r[x] = uint8(uint64(v&f.masks[0]>>shift[0]) * 255 / uint64(top[0]))
		g[x] = uint8(uint64(v&f.masks[1]>>shift[1]) * 255 / uint64(top[1]))
		b[x] = uint8(uint64(v&f.masks[2]>>shift[2]) * 255 / uint64(top[2]))
	}
}

// unrunLength undoes the run-length compression of 8 or 4 bits a pixel. Rows come in the order of the file. Pixels that
// the file passes over have index 0.
func (f *bmpInfo) unrunLength() ([]byte, error) {
	w, out, b := f.width, make([]byte, f.width*f.height), f.pixels
	x, y := 0, 0
	put := func(v byte) {
		if x < w && y < f.height {
			out[y*w+x] = v
		}
		x++
	}
	short := errors.New("the pixels end before the end mark")
	for {
		if len(b) < 2 {
			if y >= f.height || y == f.height-1 && x >= w {
				return out, nil // as the end mark is left out by some writers
			}
			return nil, short
		}
		n, v := int(b[0]), b[1]
		b = b[2:]
		if n > 0 {
			for i := range n {
				switch {
				case f.bits == 8:
					put(v)
				case i%2 == 0:
					put(v >> 4)
				default:
					put(v & 15)
				}
			}
			continue
		}
		switch v {
		case 0:
			x, y = 0, y+1
		case 1:
			return out, nil
		case 2:
			if len(b) < 2 {
				return nil, short
			}
			x, y, b = x+int(b[0]), y+int(b[1]), b[2:]
		default:
			n := int(v) * f.bits / 8
			if f.bits == 4 {
				n = (int(v) + 1) / 2
			}
			if len(b) < n {
				return nil, short
			}
			for i := range int(v) {
				switch {
				case f.bits == 8:
					put(b[i])
				case i%2 == 0:
					put(b[i/2] >> 4)
				default:
					put(b[i/2] & 15)
				}
			}
			b = b[min(len(b), n+n%2):]
		}
	}
}
