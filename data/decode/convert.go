package decode

import (
	"encoding/binary"
	"fmt"
	"image"
	"image/color"

	"github.com/dino-mx/dmx/data"
)

// channelsOf is 1 for a grey picture and 3 for a coloured one.
func channelsOf(c image.Config) int {
	switch model := c.ColorModel.(type) {
	case color.Palette:
		for _, entry := range model {
			if r, g, b, _ := entry.RGBA(); r != g || g != b {
				return 3
			}
		}
		return 1
	default:
		if model == color.GrayModel || model == color.Gray16Model {
			return 1
		}
	}
	return 3
}

// fromStd copies a picture of the standard library's types into m with the given number of channels.
func fromStd(src image.Image, channels int, m *data.Image) error {
	r := src.Bounds()
	w, h := r.Dx(), r.Dy()
	have := channelsOf(image.Config{ColorModel: src.ColorModel()})
	if have > channels {
		return fmt.Errorf("the picture has %d channels, expected %d like the first pictures of the data; convert it, or the others", have, channels)
	}
	if have == 3 && channels != 3 {
		return fmt.Errorf("the picture has 3 channels, expected %d", channels)
	}
	switch p := src.(type) {
	case *image.Gray:
		m.Reset(channels, h, w, 8)
		for y := range h {
			copy(m.U8[y*w:(y+1)*w], p.Pix[y*p.Stride:])
		}
	case *image.Gray16:
		m.Reset(channels, h, w, 16)
		for y := range h {
			row := p.Pix[y*p.Stride : y*p.Stride+2*w]
			out := m.U16[y*w : (y+1)*w]
			for x := range out {
				out[x] = binary.BigEndian.Uint16(row[2*x:])
			}
		}
	case *image.YCbCr:
		m.Reset(channels, h, w, 8)
		fromYCbCr(p, m)
		return nil
	case *image.NRGBA:
		m.Reset(channels, h, w, 8)
		deinterleave8(p.Pix, p.Stride, m)
		return nil
	case *image.RGBA:
		// Alpha-premultiplied: exact where the picture is opaque, which is what decoders use this type for.
		m.Reset(channels, h, w, 8)
		deinterleave8(p.Pix, p.Stride, m)
		return nil
	case *image.NRGBA64:
		m.Reset(channels, h, w, 16)
		deinterleave16(p.Pix, p.Stride, m)
		return nil
	case *image.RGBA64:
		m.Reset(channels, h, w, 16)
		deinterleave16(p.Pix, p.Stride, m)
		return nil
	case *image.Paletted:
		m.Reset(channels, h, w, 8)
		fromPalette(p, have, m)
	default:
		m.Reset(channels, h, w, 8)
		for y := range h {
			for x := range w {
				c := color.NRGBAModel.Convert(src.At(r.Min.X+x, r.Min.Y+y)).(color.NRGBA)
				m.U8[y*w+x] = c.R
				if have == 3 {
					m.U8[(h+y)*w+x], m.U8[(2*h+y)*w+x] = c.G, c.B
				}
			}
		}
	}
	if have == 1 {
		replicate(m)
	}
	return nil
}

// replicate fills every channel of m with the first.
func replicate(m *data.Image) {
	n := m.Height * m.Width
	for c := 1; c < m.Channels; c++ {
		if m.Bits == 16 {
			copy(m.U16[c*n:(c+1)*n], m.U16[:n])
		} else {
			copy(m.U8[c*n:(c+1)*n], m.U8[:n])
		}
	}
}

func deinterleave8(pix []uint8, stride int, m *data.Image) {
	r, g, b := m.Plane8(0), m.Plane8(1), m.Plane8(2)
	w := m.Width
	for y := range m.Height {
		row := pix[y*stride : y*stride+4*w]
		ro, go_, bo := r[y*w:(y+1)*w], g[y*w:(y+1)*w], b[y*w:(y+1)*w]
		for x := range ro {
			q := row[4*x : 4*x+4 : 4*x+4]
			ro[x], go_[x], bo[x] = q[0], q[1], q[2]
		}
	}
}

func deinterleave16(pix []uint8, stride int, m *data.Image) {
	r, g, b := m.Plane16(0), m.Plane16(1), m.Plane16(2)
	w := m.Width
	for y := range m.Height {
		row := pix[y*stride : y*stride+8*w]
		for x := range w {
			q := row[8*x : 8*x+8 : 8*x+8]
			r[y*w+x] = binary.BigEndian.Uint16(q)
			g[y*w+x] = binary.BigEndian.Uint16(q[2:])
			b[y*w+x] = binary.BigEndian.Uint16(q[4:])
		}
	}
}

func fromPalette(p *image.Paletted, have int, m *data.Image) {
	var table [3][256]uint8
	for i, c := range p.Palette[:min(256, len(p.Palette))] {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		table[0][i], table[1][i], table[2][i] = n.R, n.G, n.B
	}
	w := m.Width
	for c := range have {
		plane := m.Plane8(c)
		for y := range m.Height {
			row := p.Pix[y*p.Stride : y*p.Stride+w]
			for x, v := range row {
				plane[y*w+x] = table[c][v]
			}
		}
	}
}
