package data

import "testing"

// Unsigned samples of 16 bits are scaled by the float32 next to 1/65535, as they were before there were other types.
func TestScaleOfUnsignedSamples(t *testing.T) {
	s := Sample{}
	s.Image.Reset(1, 1, 1, U16)
	if factor, offset := s.Scale(); float32(factor) != 1/float32(65535) || offset != 0 {
		t.Errorf("%v, %v", factor, offset)
	}
}

// A sample that is used again holds nothing of the one before.
func TestResetForgets(t *testing.T) {
	s := Sample{Boxes: []Box{{Class: 1}}, Points: []Point{{Class: 1}}, Spacing: Spacing{Y: 1},
		Values: Values{Unit: "HU", High: 5}}
	s.Mask.Reset(1, 2, 2, U8)
	s.Image.Reset(1, 2, 2, I16)
	s.Reset()
	if s.Mask.Height != 0 || len(s.Boxes)+len(s.Points) > 0 || s.Spacing != (Spacing{}) || s.Values != (Values{}) {
		t.Errorf("%+v", s)
	}
	s.Image.Reset(1, 1, 3, F32)
	if len(s.Image.I16) != 0 || len(s.Image.F32) != 3 {
		t.Errorf("%d signed and %d float samples", len(s.Image.I16), len(s.Image.F32))
	}
}
