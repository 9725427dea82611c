package data

// MaxPixels is the largest picture, in pixels of one channel, that any decoder accepts. It bounds what a hostile
// header can make the process allocate.
const MaxPixels = 1 << 27

// MaxChannels is the largest number of channels of a picture.
const MaxChannels = 64

// Image is one decoded picture with its samples as they were stored, 8 or 16 bits, unsigned. The samples are
// planar: channel c, row y, column x is element (c*Height+y)*Width+x. An Image is reused from decode to decode, so
// that a loader in its steady state allocates no pixel memory.
type Image struct {
	Channels, Height, Width int

	Bits int      // 8: samples are in U8; 16: samples are in U16
	U8   []uint8  // Channels*Height*Width samples if Bits is 8, else empty
	U16  []uint16 // Channels*Height*Width samples if Bits is 16, else empty
}

// slack is room behind the samples for vector kernels that read a little past the end.
const slack = 64

// Reset makes room for a picture of the given size and sample width (8 or 16 bits), keeping the memory of earlier ones.
// The samples are undefined afterwards.
func (m *Image) Reset(channels, height, width, bits int) {
	n := channels * height * width
	m.Channels, m.Height, m.Width, m.Bits = channels, height, width, bits
	if bits == 16 {
		m.U8 = m.U8[:0]
		if cap(m.U16) < n {
			m.U16 = make([]uint16, n)
		}
		m.U16 = m.U16[:n]
		return
	}
	m.U16 = m.U16[:0]
	if cap(m.U8) < n+slack {
		m.U8 = make([]uint8, n+slack)
	}
	m.U8 = m.U8[:n]
}

// Max is the sample value of full intensity: 255 or 65535.
func (m *Image) Max() int { return 1<<m.Bits - 1 }

// Plane8 is channel c of an 8-bit picture.
func (m *Image) Plane8(c int) []uint8 {
	n := m.Height * m.Width
	return m.U8[c*n : (c+1)*n : (c+1)*n]
}

// Plane16 is channel c of a 16-bit picture.
func (m *Image) Plane16(c int) []uint16 {
	n := m.Height * m.Width
	return m.U16[c*n : (c+1)*n : (c+1)*n]
}

// At is the sample at channel c, row y, column x.
func (m *Image) At(c, y, x int) int {
	i := (c*m.Height+y)*m.Width + x
	if m.Bits == 16 {
		return int(m.U16[i])
	}
	return int(m.U8[i])
}
