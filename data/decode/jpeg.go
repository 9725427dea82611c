package decode

import (
	"errors"
	"fmt"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/decode/jpeg"
)

// jpegColour is what the components of a JPEG picture are.
type jpegColour int

const (
	jpegGrey jpegColour = iota
	jpegYCbCr
	jpegRGB
	jpegCMYK
	jpegYCCK
)

// jpegColourOf is the meaning that libjpeg gives components: JFIF is YCbCr; else the Adobe segment says; else the
// names of the components.
func jpegColourOf(p jpeg.Header) jpegColour {
	switch len(p.Components) {
	case 1:
		return jpegGrey
	case 4:
		if p.Adobe <= 0 {
			return jpegCMYK
		}
		return jpegYCCK
	}
	switch c := p.Components; {
	case p.JFIF:
		return jpegYCbCr
	case p.Adobe >= 0:
		if p.Adobe == 0 {
			return jpegRGB
		}
		return jpegYCbCr
	case c[0].ID == 'R' && c[1].ID == 'G' && c[2].ID == 'B':
		return jpegRGB
	}
	return jpegYCbCr
}

func jpegError(err error) error {
	var u jpeg.Unsupported
	if errors.As(err, &u) {
		return unsupported(string(u))
	}
	return err
}

func jpegHead(b []byte) (head, error) {
	p, err := jpeg.ReadHeader(b)
	if err != nil {
		return head{}, jpegError(err)
	}
	h := head{width: p.Width, height: p.Height, channels: 3}
	if len(p.Components) == 1 {
		h.channels = 1
	}
	return h, nil
}

func jpegDecode(b []byte, h head, channels int, m *data.Image) error {
	p, err := jpeg.Decode(b)
	if err != nil {
		return jpegError(err)
	}
	m.Reset(channels, h.height, h.width, data.U8)
	// Pillow takes four components of a JPEG file for inverted, as Adobe writes them.
	fromComponents(p, m, jpegColourOf(p), true)
	return nil
}

// fromComponents converts the components of a JPEG stream to the planes of m, which has its size.
func fromComponents(p jpeg.Header, m *data.Image, colour jpegColour, inverted bool) {
	w := m.Width
	var scratch [4]*widener
	for i := range p.Components {
		scratch[i] = wideners.Get().(*widener)
		defer wideners.Put(scratch[i])
	}
	for y := range m.Height {
		var row [4][]byte
		for i := range p.Components {
			row[i] = scratch[i].row(&p.Components[i], p.Width, y)
		}
		if colour == jpegGrey {
			copy(m.U8[y*w:(y+1)*w], row[0])
			continue
		}
		r, g, b := m.Plane8(0)[y*w:(y+1)*w], m.Plane8(1)[y*w:(y+1)*w], m.Plane8(2)[y*w:(y+1)*w]
		switch colour {
		case jpegYCbCr, jpegYCCK:
			toRGB(row[0], row[1], row[2], r, g, b)
		default:
			copy(r, row[0])
			copy(g, row[1])
			copy(b, row[2])
		}
		if len(p.Components) < 4 {
			continue
		}
		// The inks of YCCK are what is missing of R, G and B; inverted they are R, G and B.
		for _, out := range [3][]byte{r, g, b} {
			for x, ink := range out {
				black := row[3][x]
				if (colour == jpegYCCK) != inverted {
					ink = 255 - ink
				}
				if inverted {
					black = 255 - black
				}
				out[x] = inkToLight(ink, black)
			}
		}
	}
}

// inkToLight is one channel of the conversion of CMYK that Pillow makes: white without the black, times one without
// the ink.
func inkToLight(ink, black uint8) uint8 {
	left := 255 - int(black)
	t := int(ink)*left + 128
	return uint8(left - (t+t>>8)>>8)
}

// jpegPlanes checks that a stream has n components and at least w x h pixels, at most maxW x maxH, and decodes it.
func jpegPlanes(b []byte, n, w, h, maxW, maxH int) (jpeg.Header, error) {
	p, err := jpeg.ReadHeader(b)
	switch {
	case err != nil:
		return p, jpegError(err)
	case len(p.Components) != n:
		return p, fmt.Errorf("its JPEG stream has %d components, expected %d", len(p.Components), n)
	case p.Width < w || p.Height < h || p.Width > maxW || p.Height > maxH:
		return p, fmt.Errorf("its JPEG stream is of %d x %d pixels, expected %d x %d", p.Width, p.Height, maxW, h)
	}
	p, err = jpeg.Decode(b)
	return p, jpegError(err)
}
