package data

// MaxPixels is the largest picture, in pixels of one channel, that any decoder accepts. It bounds what a hostile
// header can make the process allocate.
const MaxPixels = 1 << 27

// MaxChannels is the largest number of channels of a picture.
const MaxChannels = 64

// Type is how the samples of an image are stored.
type Type uint8

// The types of samples.
const (
	U8  Type = iota // unsigned, 8 bits
	U16             // unsigned, 16 bits
	I16             // signed, 16 bits
	F32             // float32
)

// Image is one decoded picture with its samples as they were stored. The samples are planar: channel c, row y, column x
// is element (c*Height+y)*Width+x of the slice of its type; the other slices are empty. An Image is reused from decode
// to decode, so that a loader in its steady state allocates no pixel memory.
type Image struct {
	Channels, Height, Width int

	Type Type
	U8   []uint8
	U16  []uint16
	I16  []int16
	F32  []float32
}

// slack is room behind 8-bit samples for vector kernels that read a little past the end.
const slack = 64

// Reset makes room for a picture of the given size and type, keeping the memory of earlier ones. The samples are
// undefined afterwards.
func (m *Image) Reset(channels, height, width int, t Type) {
	m.Channels, m.Height, m.Width, m.Type = channels, height, width, t
	m.U8, m.U16, m.I16, m.F32 = m.U8[:0], m.U16[:0], m.I16[:0], m.F32[:0]
	switch n := channels * height * width; t {
	case U8:
		m.U8 = room(m.U8, n, slack)
	case U16:
		m.U16 = room(m.U16, n, 0)
	case I16:
		m.I16 = room(m.I16, n, 0)
	case F32:
		m.F32 = room(m.F32, n, 0)
	}
}

// room returns n elements with the capacity for more behind them, in the memory of s if it is enough.
func room[T any](s []T, n, more int) []T {
	if cap(s) < n+more {
		s = make([]T, n+more)
	}
	return s[:n]
}

// Plane8 is channel c of an image of type U8.
func (m *Image) Plane8(c int) []uint8 { return plane(m, m.U8, c) }

// Plane16 is channel c of an image of type U16.
func (m *Image) Plane16(c int) []uint16 { return plane(m, m.U16, c) }

func plane[T any](m *Image, samples []T, c int) []T {
	n := m.Height * m.Width
	return samples[c*n : (c+1)*n : (c+1)*n]
}

// At is the sample at channel c, row y, column x of an image of whole numbers.
func (m *Image) At(c, y, x int) int {
	switch i := (c*m.Height+y)*m.Width + x; m.Type {
	case U8:
		return int(m.U8[i])
	case U16:
		return int(m.U16[i])
	case I16:
		return int(m.I16[i])
	}
	panic("data: At of an image that holds no whole numbers")
}

// Row writes a row of a channel to out as float32: columns from left on, as many as out has.
func (m *Image) Row(c, y, left int, out []float32) {
	at := (c*m.Height+y)*m.Width + left
	switch m.Type {
	case U8:
		float(out, m.U8[at:])
	case U16:
		float(out, m.U16[at:])
	case I16:
		float(out, m.I16[at:])
	case F32:
		copy(out, m.F32[at:at+len(out)])
	}
}

func float[T uint8 | uint16 | int16](out []float32, samples []T) {
	for i, v := range samples[:len(out)] {
		out[i] = float32(v)
	}
}
