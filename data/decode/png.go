package decode

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"io"

	"github.com/dino-mx/dmx/data"
)

// The colour types of PNG that hold no colour.
const (
	pngGrey      = 0
	pngGreyAlpha = 4
)

func pngHead(b []byte) (head, error) {
	c, err := png.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return head{}, pngError(err)
	}
	h := head{width: c.Width, height: c.Height, channels: 3}
	switch kind := b[25]; {
	case kind == pngGrey, kind == pngGreyAlpha:
		h.channels, h.clipped = 1, kind == pngGrey
	default:
		if p, ok := c.ColorModel.(color.Palette); ok {
			h.channels = fromPalette(p).channels(len(p))
		}
	}
	return h, nil
}

func pngError(err error) error {
	var u png.UnsupportedError
	if errors.As(err, &u) {
		return unsupported(string(u))
	}
	return err
}

// pngPixels writes a file anew with what Pillow looks at, which is nothing behind the pixels: neither a checksum of them
// that is cut off nor what follows.
func pngPixels(b []byte, h head) ([]byte, error) {
	var packed []byte
	at, first := 8, 0
	for at+8 <= len(b) {
		n, isData := int(binary.BigEndian.Uint32(b[at:])), string(b[at+4:at+8]) == "IDAT"
		if first > 0 && !isData {
			break
		}
		if isData {
			if first == 0 {
				first = at
			}
			body := b[at+8 : min(len(b), at+8+n)]
			if end := at + 8 + n; end+4 <= len(b) && binary.BigEndian.Uint32(b[end:]) != crc32.ChecksumIEEE(b[at+4:end]) {
				return nil, errors.New("invalid checksum")
			}
			packed = append(packed, body...)
		}
		if n > len(b)-at-12 {
			break
		}
		at += 12 + n
	}
	if first == 0 || len(packed) < 2 {
		return nil, io.ErrUnexpectedEOF
	}
	// Eight bytes a pixel, and a byte for each row of seven passes.
	most := int64(8*h.width*h.height + 8*h.height + 64)
	stream := bytes.NewReader(packed[2:])
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(stream), most))
	if err != nil {
		return nil, err
	}
	if sum := packed[len(packed)-stream.Len():]; len(sum) >= 4 && binary.BigEndian.Uint32(sum) != adler32.Checksum(raw) {
		return nil, zlib.ErrChecksum
	}
	var out bytes.Buffer
	out.Write(b[:first])
	out.Write(make([]byte, 4))
	out.WriteString("IDAT")
	z, err := zlib.NewWriterLevel(&out, zlib.NoCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(raw); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	file := out.Bytes()
	binary.BigEndian.PutUint32(file[first:], uint32(len(file)-first-8))
	file = binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(file[first+4:]))
	return append(file, "\x00\x00\x00\x00IEND\xaeB`\x82"...), nil
}

// fromPalette copies a palette without its alpha.
func fromPalette(p color.Palette) *colours {
	t := greyRamp()
	for i, c := range p[:min(256, len(p))] {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		t[0][i], t[1][i], t[2][i] = n.R, n.G, n.B
	}
	return t
}

func pngDecode(b []byte, h head, channels int, m *data.Image) error {
	src, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		if anew, errAnew := pngPixels(b, h); errAnew == nil {
			if again, errAgain := png.Decode(bytes.NewReader(anew)); errAgain == nil {
				src, err = again, nil
			}
		}
	}
	if err != nil {
		return pngError(err)
	}
	switch src.(type) {
	case *image.Gray16, *image.NRGBA64, *image.RGBA64:
		m.Reset(channels, h.height, h.width, data.U16)
	default:
		m.Reset(channels, h.height, h.width, data.U8)
	}
	switch p := src.(type) {
	case *image.Gray:
		fromGray(p, m)
	case *image.Gray16:
		fromPixels16(p.Pix, p.Stride, 2, 1, m)
	case *image.NRGBA:
		fromPixels8(p.Pix, p.Stride, h.channels, m)
	case *image.RGBA: // opaque
		fromPixels8(p.Pix, p.Stride, h.channels, m)
	case *image.NRGBA64:
		fromPixels16(p.Pix, p.Stride, 8, h.channels, m)
	case *image.RGBA64: // opaque
		fromPixels16(p.Pix, p.Stride, 8, h.channels, m)
	case *image.Paletted:
		t := fromPalette(p.Palette)
		for y := range h.height {
			t.fill(m, h.channels, y*h.width, p.Pix[y*p.Stride:y*p.Stride+h.width])
		}
	default:
		return fmt.Errorf("decoded as %T", src)
	}
	return nil
}
