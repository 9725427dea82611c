package jpeg

import "errors"

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
	precision  [64]int // of a progressive stream: the bits of each coefficient that are missing, plus one; 0 for all
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

// mcus is the number of minimum coded units of an interleaved scan.
func (r *reader) mcus() (across, down int) {
	return (r.Width + 8*r.maxH - 1) / (8 * r.maxH), (r.Height + 8*r.maxV - 1) / (8 * r.maxV)
}
