package safetensors

import (
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// DType is an element type of the format. The constants are in the rank order of the reference implementation;
// a writer stores tensors of a higher rank first.
type DType uint8

// The element types of the format. Types below one byte and the 8-bit floats are recognised and can be copied,
// but not converted.
const (
	Bool DType = iota
	F4
	F6E2M3
	F6E3M2
	U8
	I8
	F8E5M2
	F8E4M3
	F8E8M0
	F8E4M3FNUZ
	F8E5M2FNUZ
	I16
	U16
	F16
	BF16
	I32
	U32
	F32
	C64
	F64
	I64
	U64
)

var dtypes = [...]struct {
	name string
	bits uint64
}{
	Bool: {"BOOL", 8}, F4: {"F4", 4}, F6E2M3: {"F6_E2M3", 6}, F6E3M2: {"F6_E3M2", 6}, U8: {"U8", 8}, I8: {"I8", 8},
	F8E5M2: {"F8_E5M2", 8}, F8E4M3: {"F8_E4M3", 8}, F8E8M0: {"F8_E8M0", 8}, F8E4M3FNUZ: {"F8_E4M3FNUZ", 8},
	F8E5M2FNUZ: {"F8_E5M2FNUZ", 8}, I16: {"I16", 16}, U16: {"U16", 16}, F16: {"F16", 16}, BF16: {"BF16", 16},
	I32: {"I32", 32}, U32: {"U32", 32}, F32: {"F32", 32}, C64: {"C64", 64}, F64: {"F64", 64}, I64: {"I64", 64},
	U64: {"U64", 64},
}

// String is the name the header uses, for example "BF16".
func (d DType) String() string {
	if int(d) < len(dtypes) {
		return dtypes[d].name
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// Bits is the size of one element in bits.
func (d DType) Bits() int { return int(dtypes[d].bits) }

// ParseDType finds the type of a header name.
func ParseDType(name string) (DType, bool) {
	for i, d := range dtypes {
		if d.name == name {
			return DType(i), true
		}
	}
	return 0, false
}

// Of is the file type that stores a tensor's elements unchanged.
func Of(d tensor.DType) DType {
	switch d {
	case tensor.F32:
		return F32
	case tensor.BF16:
		return BF16
	case tensor.F64:
		return F64
	case tensor.I32:
		return I32
	case tensor.U16:
		return U16
	default:
		return U8
	}
}

// Native is the in-memory type that holds every value of the file type exactly: f32 for F16, i32 for small
// integers. ok is false where there is none.
func (d DType) Native() (t tensor.DType, ok bool) {
	switch d {
	case F32, F16:
		return tensor.F32, true
	case BF16:
		return tensor.BF16, true
	case F64:
		return tensor.F64, true
	case I32, I16, I8:
		return tensor.I32, true
	case U16:
		return tensor.U16, true
	case U8, Bool:
		return tensor.U8, true
	}
	return 0, false
}
