package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/dino-mx/dmx/tensor"
)

// convertFunc writes the elements stored in raw to dst, from element lo on.
type convertFunc func(dst *tensor.Tensor, lo int, raw []byte) error

// converter returns the conversion from a stored type to an in-memory type, or nil when the bytes are the same.
func converter(from DType, to tensor.DType) (convertFunc, error) {
	if Of(to) == from || (from == Bool && to == tensor.U8) {
		return nil, nil
	}
	isFloat := from == F16 || from == BF16 || from == F32 || from == F64
	switch {
	case from == BF16 && to == tensor.F32:
		return func(dst *tensor.Tensor, lo int, raw []byte) error { widenBF16(dst.Bytes()[4*lo:], raw); return nil }, nil
	case isFloat && to == tensor.F32:
		return func(dst *tensor.Tensor, lo int, raw []byte) error { toF32(dst.F32()[lo:], from, raw); return nil }, nil
	case isFloat && to == tensor.BF16:
		return func(dst *tensor.Tensor, lo int, raw []byte) error { toBF16(dst.BF16()[lo:], from, raw); return nil }, nil
	case isFloat && to == tensor.F64:
		return func(dst *tensor.Tensor, lo int, raw []byte) error {
			out := dst.F64()[lo:]
			size := from.Bits() / 8
			for i := range len(raw) / size {
				out[i] = floatAt(from, raw[i*size:])
			}
			return nil
		}, nil
	case to == tensor.I32 && (from == I64 || from == I16 || from == I8 || from == U8 || from == U16 || from == U32 || from == U64):
		return func(dst *tensor.Tensor, lo int, raw []byte) error { return toI32(dst.I32()[lo:], from, raw) }, nil
	}
	return nil, fmt.Errorf("%s elements cannot be read as %s", from, to)
}

func floatAt(from DType, raw []byte) float64 {
	switch from {
	case F16:
		return float64(FromF16(binary.LittleEndian.Uint16(raw)))
	case BF16:
		return float64(tensor.FromBF16(binary.LittleEndian.Uint16(raw)))
	case F32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(raw)))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(raw))
}

func toF32(out []float32, from DType, raw []byte) {
	switch from {
	case F16:
		for i := range len(raw) / 2 {
			out[i] = FromF16(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	default:
		for i := range len(raw) / 8 {
			out[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
		}
	}
}

// widenBF16 converts bf16 elements to f32 by appending 16 zero bits, eight elements at a time and two to a store. Half
// of all published weights are bf16, so that it is worth the trouble.
func widenBF16(out, raw []byte) {
	out = out[:2*len(raw)]
	for len(raw) >= 16 && len(out) >= 32 {
		v, w := binary.LittleEndian.Uint64(raw), binary.LittleEndian.Uint64(raw[8:])
		binary.LittleEndian.PutUint64(out, v<<16&0xffff0000|v&0xffff0000<<32)
		binary.LittleEndian.PutUint64(out[8:], v>>16&0xffff0000|v>>48<<48)
		binary.LittleEndian.PutUint64(out[16:], w<<16&0xffff0000|w&0xffff0000<<32)
		binary.LittleEndian.PutUint64(out[24:], w>>16&0xffff0000|w>>48<<48)
		raw, out = raw[16:], out[32:]
	}
	for ; len(raw) >= 2; raw, out = raw[2:], out[4:] {
		binary.LittleEndian.PutUint32(out, uint32(binary.LittleEndian.Uint16(raw))<<16)
	}
}

func toBF16(out []uint16, from DType, raw []byte) {
	size := from.Bits() / 8
	for i := range len(raw) / size {
		if from == F64 {
			out[i] = bf16FromF64(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
			continue
		}
		out[i] = tensor.ToBF16(float32(floatAt(from, raw[i*size:])))
	}
}

// bf16FromF64 rounds once: going through float32 would round twice. Rounding the float32 step to odd keeps the
// information the second step needs.
func bf16FromF64(v float64) uint16 {
	f := float32(v)
	if float64(f) != v && !math.IsInf(float64(f), 0) && !math.IsNaN(v) {
		b := math.Float32bits(f)
		if math.Abs(float64(f)) > math.Abs(v) {
			b-- // towards zero
		}
		f = math.Float32frombits(b | 1)
	}
	return tensor.ToBF16(f)
}

func toI32(out []int32, from DType, raw []byte) error {
	size := from.Bits() / 8
	for i := range len(raw) / size {
		b := raw[i*size:]
		var v int64
		switch from {
		case I64:
			v = int64(binary.LittleEndian.Uint64(b))
		case U64:
			u := binary.LittleEndian.Uint64(b)
			v = int64(min(u, math.MaxInt64))
		case U32:
			v = int64(binary.LittleEndian.Uint32(b))
		case I16:
			v = int64(int16(binary.LittleEndian.Uint16(b)))
		case U16:
			v = int64(binary.LittleEndian.Uint16(b))
		case I8:
			v = int64(int8(b[0]))
		default:
			v = int64(b[0])
		}
		if v != int64(int32(v)) {
			return fmt.Errorf("the value %d does not fit 32 bits", v)
		}
		out[i] = int32(v)
	}
	return nil
}

// FromF16 widens an IEEE half-precision bit pattern.
func FromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, man := uint32(h>>10)&0x1f, uint32(h&0x3ff)
	switch {
	case exp == 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	case exp != 0:
		return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
	}
	// Subnormal: the value is man·2^-24, exact in float32.
	f := float32(man) * (1.0 / (1 << 24))
	return math.Float32frombits(math.Float32bits(f) | sign)
}

// ToF16 rounds to the nearest IEEE half-precision number, ties to even; NaN stays NaN and what is too large
// becomes infinite.
func ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00
	case b >= 0x47800000: // 2^16 and above, infinity included
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14: the result is a multiple of 2^-24
		n := math.Float32frombits(b) * (1 << 24)
		return sign | uint16(math.RoundToEven(float64(n)))
	}
	b += 0xfff + b>>13&1
	return sign | uint16((b-(112<<23))>>13)
}
