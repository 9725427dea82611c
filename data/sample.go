package data

// Sample is one sample of a source: an image with what belongs to it. It is reused from decode to decode.
type Sample struct {
	Image Image
	// Mask is labels of the image's pixels in one channel of unsigned samples, of the image's size. Its Height is 0 where
	// there is none.
	Mask    Image
	Boxes   []Box
	Points  []Point
	Spacing Spacing
	Values  Values
}

// Box is a labelled rectangle of an image, in pixels from its top left corner.
type Box struct {
	Top, Left, Height, Width float64
	Class                    int
}

// Point is a labelled place in an image, in pixels from its top left corner. The middle of the first pixel is at
// (0.5, 0.5).
type Point struct {
	Y, X  float64
	Class int
}

// Spacing is the distance between the middles of neighbouring pixels in millimetres, 0 where it is not known.
type Spacing struct {
	Y, X float64
	Z    float64 // between slices of a volume
}

// Values says what the stored samples of an image measure: stored * Slope + Intercept, in Unit. The zero value is
// samples without a unit whose full intensity is that of their type.
type Values struct {
	Slope, Intercept float64 // a slope of 0 stands for 1
	Unit             string  // for example HU for Hounsfield units; "" for none
	// Low and High, in Unit, are what becomes 0 and 1 where samples are scaled to 0…1. If both are 0 it is the range of
	// the type: 0 to 255 or 65535, -32768 to 32767, 0 to 1 for float.
	Low, High float64
}

// Reset forgets what belongs to the image and keeps the memory.
func (s *Sample) Reset() {
	s.Mask.Height, s.Mask.Width = 0, 0
	s.Boxes, s.Points = s.Boxes[:0], s.Points[:0]
	s.Spacing, s.Values = Spacing{}, Values{}
}

// Scale returns how a stored sample is scaled to 0…1: stored * factor + offset, before it is limited to that range.
func (s *Sample) Scale() (factor, offset float64) {
	v := &s.Values
	if v.Low == 0 && v.High == 0 {
		switch s.Image.Type {
		case U8:
			return 1. / 255, 0
		case U16:
			return 1. / 65535, 0
		case I16:
			return 1. / 65535, 32768. / 65535
		}
		return 1, 0
	}
	slope := v.Slope
	if slope == 0 {
		slope = 1
	}
	width := v.High - v.Low
	return slope / width, (v.Intercept - v.Low) / width
}

// Levels tells whether the samples are 8-bit levels from 0 to 255 for black to full intensity, which integer arithmetic
// takes as they are.
func (s *Sample) Levels() bool {
	return s.Image.Type == U8 && s.Values.Low == 0 && s.Values.High == 0
}
