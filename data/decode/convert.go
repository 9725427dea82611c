package decode

import (
	"encoding/binary"
	"image"

	"github.com/dino-mx/dmx/data"
)

// replicate fills every channel of m with the first.
func replicate(m *data.Image) {
	n := m.Height * m.Width
	for c := 1; c < m.Channels; c++ {
		if m.Type == data.U16 {
			copy(m.U16[c*n:(c+1)*n], m.U16[:n])
		} else {
			copy(m.U8[c*n:(c+1)*n], m.U8[:n])
		}
	}
}

// clip16 makes the first plane of m one of 8 bits: samples above 255 become 255.
func clip16(m *data.Image) {
	wide := m.Plane16(0)
	m.Reset(m.Channels, m.Height, m.Width, data.U8)
	for i, v := range wide {
		m.U8[i] = uint8(min(255, v))
	}
}

// fromGray copies the samples of p to the first plane of m.
func fromGray(p *image.Gray, m *data.Image) {
	w := m.Width
	for y := range m.Height {
		copy(m.U8[y*w:(y+1)*w], p.Pix[y*p.Stride:])
	}
}

// fromPixels8 copies the first n samples of pixels of four bytes to the planes of m.
func fromPixels8(pix []uint8, stride, n int, m *data.Image) {
	w := m.Width
	if n == 1 {
		grey := m.Plane8(0)
		for y := range m.Height {
			row, out := pix[y*stride:y*stride+4*w], grey[y*w:(y+1)*w]
			for x := range out {
				out[x] = row[4*x]
			}
		}
		return
	}
	r, g, b := m.Plane8(0), m.Plane8(1), m.Plane8(2)
	for y := range m.Height {
		row := pix[y*stride : y*stride+4*w]
		ro, go_, bo := r[y*w:(y+1)*w], g[y*w:(y+1)*w], b[y*w:(y+1)*w]
		for x := range ro {
			q := row[4*x : 4*x+4 : 4*x+4]
			ro[x], go_[x], bo[x] = q[0], q[1], q[2]
		}
	}
}

// fromPixels16 copies the first n big-endian samples of 16 bits, of every pixel of size bytes, to the planes of m.
func fromPixels16(pix []uint8, stride, size, n int, m *data.Image) {
	w := m.Width
	for c := range n {
		plane := m.Plane16(c)
		for y := range m.Height {
			row, out := pix[y*stride+2*c:], plane[y*w:(y+1)*w]
			for x := range out {
				out[x] = binary.BigEndian.Uint16(row[size*x:])
			}
		}
	}
}

// colours is a palette of up to 256 entries. As in Pillow, entries that a file leaves out are black, or grey where the
// others are a ramp of greys.
type colours [3][256]uint8

// newColours makes a palette of n entries of size bytes, with red, green and blue at the given places of an entry.
func newColours(b []byte, n, size, red, green, blue int) *colours {
	t := new(colours)
	ramp := true
	for i := range min(n, 256) {
		e := b[i*size:]
		t[0][i], t[1][i], t[2][i] = e[red], e[green], e[blue]
		ramp = ramp && int(e[red]) == i && e[green] == e[red] && e[blue] == e[red]
	}
	if ramp {
		return greyRamp()
	}
	return t
}

// greyRamp returns the palette in which entry i is the grey i.
func greyRamp() *colours {
	t := new(colours)
	for i := range 256 {
		t[0][i], t[1][i], t[2][i] = uint8(i), uint8(i), uint8(i)
	}
	return t
}

// channels is 1 if all of the first n entries are grey, else 3.
func (t *colours) channels(n int) int {
	for i := range n {
		if t[0][i] != t[1][i] || t[1][i] != t[2][i] {
			return 3
		}
	}
	return 1
}

// fill writes the colours of a row of indices to the first n planes of m, starting at element at of each.
func (t *colours) fill(m *data.Image, n, at int, row []uint8) {
	for c := range n {
		out, table := m.Plane8(c)[at:at+len(row)], &t[c]
		for x, v := range row {
			out[x] = table[v]
		}
	}
}
