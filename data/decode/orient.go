package decode

import "github.com/dino-mx/dmx/data"

// orient turns the first n planes of m as an EXIF orientation of 2 to 8 says.
func orient(m *data.Image, n, orientation int) {
	w, h := m.Width, m.Height
	turned := orientation >= 5
	outWidth := w
	if turned {
		outWidth = h
	}
	// place is where pixel (x, y) goes.
	place := func(x, y int) int {
		switch orientation {
		case 2, 3:
			x = w - 1 - x
		}
		switch orientation {
		case 3, 4:
			y = h - 1 - y
		}
		switch orientation {
		case 5:
			x, y = y, x
		case 6:
			x, y = h-1-y, x
		case 7:
			x, y = h-1-y, w-1-x
		case 8:
			x, y = y, w-1-x
		}
		return y*outWidth + x
	}
	for c := range n {
		if m.Type == data.U16 {
			permute(m.Plane16(c), w, place)
		} else {
			permute(m.Plane8(c), w, place)
		}
	}
	if turned {
		m.Width, m.Height = h, w
	}
}

func permute[T uint8 | uint16](plane []T, w int, place func(x, y int) int) {
	old := append([]T(nil), plane...)
	for i, v := range old {
		plane[place(i%w, i/w)] = v
	}
}
