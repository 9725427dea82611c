package tensor

import "fmt"

// DType is the element type of a tensor.
type DType uint8

// The element types. F64 exists for the float64 oracle only; no model is stored in it.
const (
	F32 DType = iota
	BF16
	F64
	I32
	U8
	U16
)

var dtypeNames = [...]string{F32: "f32", BF16: "bf16", F64: "f64", I32: "i32", U8: "u8", U16: "u16"}
var dtypeSizes = [...]int{F32: 4, BF16: 2, F64: 8, I32: 4, U8: 1, U16: 2}

// Size is the number of bytes of one element.
func (d DType) Size() int { return dtypeSizes[d] }

// String is the lower-case name used in messages, for example "bf16".
func (d DType) String() string {
	if int(d) < len(dtypeNames) {
		return dtypeNames[d]
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// IsFloat reports whether the type holds real numbers.
func (d DType) IsFloat() bool { return d == F32 || d == BF16 || d == F64 }
