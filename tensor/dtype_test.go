package tensor

import (
	"math"
	"testing"
)

// Every bf16 pattern widens to a float32 that narrows back to it; signalling NaNs become quiet ones.
func TestBF16RoundTripIsExhaustive(t *testing.T) {
	for i := range 1 << 16 {
		b := uint16(i)
		f := FromBF16(b)
		want := b
		if f != f {
			want |= 0x40
		}
		if got := ToBF16(f); got != want {
			t.Fatalf("%#04x widens to %v and narrows to %#04x", b, f, got)
		}
	}
}

// Between any two neighbours the nearer one is taken, and the even one in the middle.
func TestBF16RoundsToNearestEven(t *testing.T) {
	for i := range 0x7f80 { // all finite magnitudes
		lo := uint16(i)
		bits := uint32(lo) << 16
		even := lo + lo&1
		for _, tt := range []struct {
			low  uint32
			want uint16
		}{{0, lo}, {1, lo}, {0x7fff, lo}, {0x8000, even}, {0x8001, lo + 1}, {0xffff, lo + 1}} {
			for _, sign := range []uint32{0, 1 << 31} {
				want := tt.want | uint16(sign>>16)
				if got := ToBF16(math.Float32frombits(bits | tt.low | sign)); got != want {
					t.Fatalf("%#08x becomes %#04x, want %#04x", bits|tt.low|sign, got, want)
				}
			}
		}
	}
}

// A NaN whose payload lies in the lower half must not become infinity.
func TestBF16KeepsNaN(t *testing.T) {
	for _, bits := range []uint32{0x7f800001, 0xff800001, 0x7fc00000, 0x7fffffff, 0xffffffff, 0x7f80ffff} {
		if f := FromBF16(ToBF16(math.Float32frombits(bits))); f == f {
			t.Errorf("NaN %#08x becomes %v", bits, f)
		}
	}
}

func TestDTypes(t *testing.T) {
	tests := []struct {
		dtype DType
		name  string
		size  int
		float bool
	}{
		{F32, "f32", 4, true}, {BF16, "bf16", 2, true}, {F64, "f64", 8, true},
		{I32, "i32", 4, false}, {U8, "u8", 1, false}, {U16, "u16", 2, false},
	}
	for _, tt := range tests {
		if tt.dtype.String() != tt.name || tt.dtype.Size() != tt.size || tt.dtype.IsFloat() != tt.float {
			t.Errorf("%s: size %d, float %t; want %+v", tt.dtype, tt.dtype.Size(), tt.dtype.IsFloat(), tt)
		}
	}
	if got := DType(77).String(); got != "dtype(77)" {
		t.Errorf("an unknown type prints as %q", got)
	}
}
