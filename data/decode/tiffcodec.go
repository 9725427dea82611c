package decode

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"
)

// The compressions of TIFF that are read.
const (
	tiffUncompressed = 1
	tiffGroup3       = 3
	tiffGroup4       = 4
	tiffLZW          = 5
	tiffJPEG         = 7
	tiffDeflate      = 8
	tiffPackBits     = 32773
	tiffOldDeflate   = 32946
	tiffZstd         = 50000
)

// tiffExpansions bounds how many bytes one byte of a compression can stand for, where there is a bound.
var tiffExpansions = map[int]int{
	tiffUncompressed: 1, tiffPackBits: 64, tiffLZW: 4096, tiffDeflate: 1032, tiffOldDeflate: 1032,
}

// tiffOtherCodecs names compressions that are not read.
var tiffOtherCodecs = map[int]string{
	2: "CCITT modified Huffman", 6: "old-style JPEG", 32809: "ThunderScan", 34676: "SGI LogLuv", 34677: "SGI LogLuv",
	33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG", 34925: "LZMA",
	50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}

// checkCodec checks that the compression goes with the samples.
func (t *tiffInfo) checkCodec() error {
	f := t.file
	switch t.compression {
	case tiffUncompressed, tiffPackBits:
	case tiffLZW, tiffDeflate, tiffOldDeflate, tiffZstd:
		switch p := f.value(tagPredictor, 1); p {
		case 0, 1:
		case 2:
			if t.bits < 8 {
				return unsupported(fmt.Sprintf("a predictor and %d-bit samples", t.bits))
			}
			t.predictor = true
		default:
			return unsupported(fmt.Sprintf("predictor %d and whole numbers", p))
		}
	case tiffGroup3, tiffGroup4:
		if t.bits != 1 || t.samples != 1 {
			return fmt.Errorf("CCITT compression of %d samples of %d bits a pixel", t.samples, t.bits)
		}
		if t.compression == tiffGroup3 && f.value(tagT4Options, 0)&1 != 0 {
			return unsupported("two-dimensional CCITT group 3 compression")
		}
	case tiffJPEG:
		if t.bits != 8 {
			return unsupported(fmt.Sprintf("JPEG compression of %d-bit samples", t.bits))
		}
		if t.photometric == tiffPalette || t.samples != t.colours || t.photometric == tiffWhiteIsZero {
			return unsupported("JPEG compression of anything but grey, RGB, YCbCr or CMYK")
		}
		t.tables = f.entries[tagJPEGTables].data
	default:
		if name, ok := tiffOtherCodecs[t.compression]; ok {
			return unsupported(name + " compression")
		}
		return unsupported(fmt.Sprintf("compression %d", t.compression))
	}
	if t.reversed {
		switch {
		case !slices.Contains([]int{tiffUncompressed, tiffPackBits, tiffGroup3, tiffGroup4}, t.compression):
			return unsupported("reversed bits and this compression")
		case t.bits > 8:
			return unsupported(fmt.Sprintf("reversed bits of %d-bit samples", t.bits))
		}
	}
	if t.separate && t.bits == 16 && t.samples > 1 && t.compression == tiffUncompressed {
		return unsupported("16-bit samples in separate planes that are not compressed") // which Pillow reads as 8-bit ones
	}
	if t.photometric == tiffYCbCr && t.compression != tiffJPEG {
		// Of smaller chroma planes without JPEG the oracle itself makes nothing sensible.
		if s := f.values(tagYCbCrSubsampling); len(s) < 2 || s[0] != 1 || s[1] != 1 {
			return unsupported("YCbCr samples of smaller chroma planes, not compressed as JPEG")
		}
		if r := f.rationals(tagReferenceBlackWhite); r != nil && !slices.Equal(r, []float64{0, 255, 128, 255, 128, 255}) {
			return unsupported("YCbCr samples of a range other than 0 to 255")
		}
		if t.compression == tiffUncompressed && t.separate {
			return unsupported("YCbCr samples in separate planes")
		}
	}
	return nil
}

// stored is the compressed bytes of a chunk.
func (t *tiffInfo) stored(i int) ([]byte, error) {
	from, size := t.offsets[i], uint64(len(t.file.b))
	if t.compression == tiffUncompressed {
		return t.file.b[min(from, size):], nil
	}
	n := t.counts[i]
	if from > size || n > size-from {
		return nil, fmt.Errorf("%d bytes from %d on, the file has %d", n, from, size)
	}
	return t.file.b[from : from+n], nil
}

// tiffScratch is the memory of one decoding.
type tiffScratch struct {
	packed  []byte
	samples []uint16 // of a plane, row and column of a chunk, each plane as wide as its samples
}

// chunk undoes the compression of rows rows of chunk i. The bytes stay valid until the next call.
func (t *tiffInfo) chunk(i, rowBytes, rows int, s *tiffScratch) ([]byte, error) {
	b, err := t.stored(i)
	if err != nil {
		return nil, err
	}
	n := rowBytes * rows
	if t.compression == tiffUncompressed {
		if len(b) < n {
			return nil, fmt.Errorf("%d bytes, expected %d", len(b), n)
		}
		if b = b[:n]; !t.reversed {
			return b, nil
		}
	}
	if cap(s.packed) < n {
		s.packed = make([]byte, n)
	}
	out := s.packed[:n]
	if t.reversed && t.compression != tiffGroup3 && t.compression != tiffGroup4 {
		turned := make([]byte, len(b))
		for i, v := range b {
			turned[i] = bits.Reverse8(v)
		}
		b = turned
	}
	var r io.Reader
	switch t.compression {
	case tiffUncompressed:
		return b, nil
	case tiffPackBits:
		return out, unpackRuns(out, b)
	case tiffGroup3, tiffGroup4:
		order, format := ccitt.MSB, ccitt.Group4
		if t.reversed {
			order = ccitt.LSB
		}
		if t.compression == tiffGroup3 {
			format = ccitt.Group3
		}
		// Samples of 1 are the black runs, whatever the photometric interpretation makes of them.
		r = ccitt.NewReader(bytes.NewReader(b), order, format, t.wide, rows, &ccitt.Options{Invert: true})
	case tiffLZW:
		if len(b) > 1 && b[0] == 0 && b[1]&1 == 1 { // the clear code, least significant bit first
			return nil, unsupported("LZW compression as it was before TIFF 5")
		}
		z := lzw.NewReader(bytes.NewReader(b), lzw.MSB, 8)
		defer z.Close()
		r = z
	case tiffZstd:
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(64<<20))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	default:
		z, err := zlib.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	}
	if _, err := io.ReadFull(r, out); err != nil {
		return nil, err
	}
	if t.predictor {
		t.undoPredictor(out, rowBytes, rows)
	}
	return out, nil
}

// unpackRuns undoes PackBits: a byte n of 0…127 is followed by n+1 bytes, one of -127…-1 by a byte that stands for
// 1-n of it.
func unpackRuns(out, b []byte) error {
	for len(out) > 0 {
		if len(b) < 2 {
			return errors.New("the PackBits data end early")
		}
		n := int(int8(b[0]))
		b = b[1:]
		switch {
		case n == -128:
		case n < 0:
			k := min(1-n, len(out))
			for i := range k {
				out[i] = b[0]
			}
			out, b = out[k:], b[1:]
		default:
			k := min(n+1, len(out))
			if len(b) < k {
				return errors.New("the PackBits data end early")
			}
			copy(out[:k], b)
			out, b = out[k:], b[min(len(b), n+1):]
		}
	}
	return nil
}

// undoPredictor adds to each sample the one of the pixel before it.
func (t *tiffInfo) undoPredictor(b []byte, rowBytes, rows int) {
	n := t.chunkSamples()
	for r := range rows {
		row := b[r*rowBytes : (r+1)*rowBytes]
		if t.bits == 8 {
			for i := n; i < len(row); i++ {
				row[i] += row[i-n]
			}
			continue
		}
		for i := 2 * n; i+1 < len(row); i += 2 {
			t.file.order.PutUint16(row[i:], t.file.order.Uint16(row[i:])+t.file.order.Uint16(row[i-2*n:]))
		}
	}
}
