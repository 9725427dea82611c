package decode

import (
	"fmt"
	"slices"

	"github.com/dino-mx/dmx/data"
)

// readTIFF reads and checks the layout of the first page.
func readTIFF(b []byte) (t tiffInfo, err error) {
	if t.file, err = readIFD(b); err != nil {
		return t, err
	}
	f := t.file
	width, height := f.value(tagImageWidth, 0), f.value(tagImageLength, 0)
	if width == 0 || height == 0 || width > 1<<31-1 || height > 1<<31-1 {
		return t, fmt.Errorf("its header says %d x %d pixels", width, height)
	}
	t.width, t.height = int(width), int(height)
	t.compression = int(f.value(tagCompression, tiffUncompressed))
	t.photometric = int(f.value(tagPhotometric, tiffWhiteIsZero))
	t.separate = f.value(tagPlanarConfig, 1) == 2
	t.reversed = f.value(tagFillOrder, 1) == 2
	if t.orientation = int(f.value(tagOrientation, 1)); t.orientation < 1 || t.orientation > 8 {
		t.orientation = 1
	}
	if err := t.readSamples(); err != nil {
		return t, err
	}
	if err := t.checkCodec(); err != nil {
		return t, err
	}
	if t.width > data.MaxPixels/t.height {
		return t, nil // the caller refuses it for its size
	}
	return t, t.readChunks()
}

// readSamples reads what a pixel consists of.
func (t *tiffInfo) readSamples() error {
	f := t.file
	t.samples = int(min(1<<16, f.value(tagSamplesPerPixel, 1)))
	extra := f.values(tagExtraSamples)
	depth := f.values(tagBitsPerSample)
	t.bits = 1
	if len(depth) > 0 {
		t.bits = int(min(1<<16, depth[0]))
		for _, d := range depth[:min(len(depth), t.samples)] {
			if d != depth[0] {
				return unsupported("samples of different depths")
			}
		}
	}
	for _, s := range f.values(tagSampleFormat) {
		switch s {
		case 1, 4:
		case 2:
			return unsupported(fmt.Sprintf("%d-bit samples with a sign", t.bits))
		case 3:
			return unsupported(fmt.Sprintf("%d-bit float samples", t.bits))
		default:
			return unsupported(fmt.Sprintf("sample format %d", s))
		}
	}
	name, depths := "", []int(nil)
	switch t.photometric {
	case tiffWhiteIsZero:
		name, t.colours, depths = "grey samples whose minimum is white", 1, []int{1, 2, 4, 8}
	case tiffBlackIsZero:
		name, t.colours, depths = "grey samples", 1, []int{1, 2, 4, 8, 16}
	case tiffRGB:
		name, t.colours, depths = "RGB samples", 3, []int{8, 16}
	case tiffPalette:
		name, t.colours, depths = "palette indices", 1, []int{1, 2, 4, 8}
	case tiffCMYK:
		name, t.colours, depths = "CMYK samples", 4, []int{8, 16}
	case tiffYCbCr:
		name, t.colours, depths = "YCbCr samples", 3, []int{8}
	case 8, 9, 10:
		return unsupported("CIE L*a*b* samples")
	default:
		return unsupported(fmt.Sprintf("photometric interpretation %d", t.photometric))
	}
	if !slices.Contains(depths, t.bits) {
		return unsupported(fmt.Sprintf("%d-bit %s", t.bits, name))
	}
	switch n := t.samples - t.colours; {
	case n < 0:
		return fmt.Errorf("%d samples a pixel, expected %d of %s", t.samples, t.colours, name)
	case n > 0 && !(t.photometric == tiffRGB && n <= 3 || t.photometric == tiffBlackIsZero && n == 1 && t.bits == 8):
		return unsupported(fmt.Sprintf("%d more samples a pixel than %s have", n, name))
	case n > 1 && len(extra) != n, n == 1 && t.colours == 1 && len(extra) != 1:
		return unsupported(fmt.Sprintf("%d samples a pixel that nothing describes", n))
	case n > 0 && len(extra) > 0 && extra[0] == 1:
		t.alpha = tiffPremultiplied
	}
	if t.photometric == tiffPalette {
		m := f.values(tagColorMap)
		n := 1 << t.bits
		if len(m) < 3*n {
			return fmt.Errorf("a palette of %d values, expected %d", len(m), 3*n)
		}
		t.palette = greyRamp()
		for i := range n {
			for c := range 3 {
				t.palette[c][i] = uint8(m[c*n+i] >> 8)
			}
		}
	}
	return nil
}

// readChunks reads where the strips or tiles are.
func (t *tiffInfo) readChunks() error {
	f := t.file
	kind := "strips"
	if f.has(tagTileWidth) || f.has(tagTileOffsets) {
		kind = "tiles"
		w, h := f.value(tagTileWidth, 0), f.value(tagTileLength, 0)
		if w == 0 || h == 0 || w > data.MaxPixels/h {
			return fmt.Errorf("tiles of %d x %d pixels", w, h)
		}
		t.wide, t.tall = int(w), int(h)
		t.offsets, t.counts = f.values(tagTileOffsets), f.values(tagTileByteCounts)
	} else {
		t.wide, t.tall = t.width, int(min(uint64(t.height), f.value(tagRowsPerStrip, uint64(t.height))))
		if t.tall == 0 {
			return fmt.Errorf("strips of no rows")
		}
		t.offsets, t.counts = f.values(tagStripOffsets), f.values(tagStripByteCounts)
	}
	t.across = (t.width + t.wide - 1) / t.wide
	down := (t.height + t.tall - 1) / t.tall
	planes := 1
	if t.separate {
		planes = t.samples
	}
	n := t.across * down * planes
	if most, ok := tiffExpansions[t.compression]; ok {
		rows := t.height // of strips, the last of which has what is left
		if kind == "tiles" {
			rows = t.tall * down
		}
		if need := planes * t.across * t.rowBytes() * rows; need/most > len(f.b)+1024 {
			return fmt.Errorf("its header says %d x %d pixels, more than %d bytes can hold", t.width, t.height, len(f.b))
		}
	}
	// Some writers leave the sizes out or wrong where they follow from the layout.
	if len(t.offsets) < n || len(t.counts) < n && t.compression != tiffUncompressed {
		return fmt.Errorf("%d offsets and %d sizes of %s, expected %d", len(t.offsets), len(t.counts), kind, n)
	}
	return nil
}

func tiffHead(b []byte) (head, error) {
	t, err := readTIFF(b)
	if err != nil {
		return head{}, err
	}
	h := head{width: t.width, height: t.height, channels: 3}
	if t.orientation >= 5 {
		h.width, h.height = t.height, t.width
	}
	switch {
	case t.palette != nil:
		h.channels = t.palette.channels(1 << t.bits)
	case t.colours == 1:
		h.channels, h.clipped = 1, true
	}
	return h, nil
}

func tiffDecode(b []byte, h head, channels int, m *data.Image) error {
	t, err := readTIFF(b)
	if err != nil {
		return err
	}
	kept := data.U8
	if t.bits == 16 && t.photometric != tiffCMYK {
		kept = data.U16
	}
	m.Reset(channels, t.height, t.width, kept)
	// All samples of a row of chunks, side by side, so that pixels can be converted whatever the layout was.
	planes := 1
	if t.separate {
		planes = t.samples
	}
	perRow := t.across
	perPlane := perRow * ((t.height + t.tall - 1) / t.tall)
	rowBytes := t.rowBytes()
	var scratch tiffScratch
	for y := 0; y < t.height; y += t.tall {
		rows := min(t.tall, t.height-y)
		for a := range perRow {
			x := a * t.wide
			w := min(t.wide, t.width-x)
			for p := range planes {
				i := p*perPlane + y/t.tall*perRow + a
				if t.compression == tiffJPEG {
					if err := t.jpegChunk(i, p, x, y, w, rows, h.channels, m); err != nil {
						return fmt.Errorf("strip or tile %d: %w", i, err)
					}
					continue
				}
				buf, err := t.chunk(i, rowBytes, rows, &scratch)
				if err != nil {
					return fmt.Errorf("strip or tile %d: %w", i, err)
				}
				for r := range rows {
					t.unpack(scratch.row(p, r, rows, t.wide*t.chunkSamples()), buf[r*rowBytes:(r+1)*rowBytes])
				}
			}
			if t.compression == tiffJPEG {
				continue
			}
			for r := range rows {
				t.convert(&scratch, r, rows, x, y+r, w, h.channels, m)
			}
		}
	}
	if t.orientation > 1 {
		orient(m, h.channels, t.orientation)
	}
	return nil
}
