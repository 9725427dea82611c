package decode

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"

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
