package ptx

import (
	"fmt"
	"math"
	"math/bits"
)

// intOp makes a function of bits of the type from one of unsigned and one of signed integers.
func intOp(t string, u func(a, b uint64) uint64, s func(a, b int64) int64) (func(a, b uint64) uint64, error) {
	k, size := class(t)
	switch k {
	case 'u', 'b':
		return func(a, b uint64) uint64 { return truncate(u(truncate(a, size), truncate(b, size)), size) }, nil
	case 's':
		if s == nil {
			break // bitwise operations have no signed form
		}
		return func(a, b uint64) uint64 { return truncate(uint64(s(signExt(a, size), signExt(b, size))), size) }, nil
	}
	return nil, unsupported(t)
}

// intAdd is the sum modulo the width, the commonest instruction of all: without a call in a call.
func intAdd(t string) (func(a, b uint64) uint64, error) {
	switch k, size := class(t); {
	case k != 'u' && k != 's' && k != 'b':
		return nil, unsupported(t)
	case size == 4:
		return func(a, b uint64) uint64 { return uint64(uint32(a) + uint32(b)) }, nil
	default:
		return func(a, b uint64) uint64 { return truncate(a+b, size) }, nil
	}
}

func intSub(t string) (func(a, b uint64) uint64, error) {
	return intOp(t, func(a, b uint64) uint64 { return a - b }, func(a, b int64) int64 { return a - b })
}

func intDiv(t string) (func(a, b uint64) uint64, error) {
	return intOp(t, func(a, b uint64) uint64 {
		if b == 0 {
			return math.MaxUint64
		}
		return a / b
	}, func(a, b int64) int64 {
		if b == 0 {
			return -1
		}
		return a / b
	})
}

func remainder(_ *compiler, t string) (func(a, b uint64) uint64, error) {
	return intOp(t, func(a, b uint64) uint64 {
		if b == 0 {
			return a
		}
		return a % b
	}, func(a, b int64) int64 {
		if b == 0 {
			return a
		}
		return a % b
	})
}

func intMin(t string) (func(a, b uint64) uint64, error) {
	return intOp(t, func(a, b uint64) uint64 { return min(a, b) }, func(a, b int64) int64 { return min(a, b) })
}

func intMax(t string) (func(a, b uint64) uint64, error) {
	return intOp(t, func(a, b uint64) uint64 { return max(a, b) }, func(a, b int64) int64 { return max(a, b) })
}

func intNeg(_ string, size int) func(a uint64) uint64 {
	return func(a uint64) uint64 { return truncate(-a, size) }
}

func intAbs(_ string, size int) func(a uint64) uint64 {
	return func(a uint64) uint64 {
		v := signExt(a, size)
		if v < 0 {
			v = -v
		}
		return truncate(uint64(v), size)
	}
}

func bitAnd(_ *compiler, t string) (func(a, b uint64) uint64, error) {
	return intOp(t, func(a, b uint64) uint64 { return a & b }, nil)
}

func bitOr(_ *compiler, t string) (func(a, b uint64) uint64, error) {
	return intOp(t, func(a, b uint64) uint64 { return a | b }, nil)
}

func bitXor(_ *compiler, t string) (func(a, b uint64) uint64, error) {
	return intOp(t, func(a, b uint64) uint64 { return a ^ b }, nil)
}

// shiftLeft and shiftRight: the amount is 32 bits and clamps at the width.
func shiftLeft(_ *compiler, t string) (func(a, b uint64) uint64, error) {
	_, size := class(t)
	return func(a, b uint64) uint64 { return truncate(truncate(a, size)<<min(b&fullMask, 64), size) }, nil
}

func shiftRight(_ *compiler, t string) (func(a, b uint64) uint64, error) {
	k, size := class(t)
	if k == 's' {
		return func(a, b uint64) uint64 { return truncate(uint64(signExt(a, size)>>min(b&fullMask, 63)), size) }, nil
	}
	return func(a, b uint64) uint64 { return truncate(a, size) >> min(b&fullMask, 64) }, nil
}

func bitNot(_ *compiler, t string) (func(a uint64) uint64, error) {
	_, size := class(t)
	return func(a uint64) uint64 { return truncate(^a, size) }, nil
}

func population(_ *compiler, t string) (func(a uint64) uint64, error) {
	_, size := class(t)
	return func(a uint64) uint64 { return uint64(bits.OnesCount64(truncate(a, size))) }, nil
}

func leadingZeros(_ *compiler, t string) (func(a uint64) uint64, error) {
	_, size := class(t)
	return func(a uint64) uint64 { return uint64(bits.LeadingZeros64(truncate(a, size)) - (64 - 8*size)) }, nil
}

func bitReverse(_ *compiler, t string) (func(a uint64) uint64, error) {
	_, size := class(t)
	return func(a uint64) uint64 { return bits.Reverse64(truncate(a, size)) >> (64 - 8*size) }, nil
}

func highestBit(_ *compiler, t string) (func(a uint64) uint64, error) {
	_, size := class(t)
	return func(a uint64) uint64 { return uint64(uint32(bits.Len64(truncate(a, size)) - 1)) }, nil
}

// product is the integer product that .lo, .hi or .wide asks for.
func (c *compiler) product(t string) (func(a, b uint64) uint64, error) {
	k, size := class(t)
	if k != 'u' && k != 's' {
		return nil, unsupported(t)
	}
	ext := func(v uint64) uint64 {
		if k == 's' {
			return uint64(signExt(v, size))
		}
		return truncate(v, size)
	}
	switch part := c.oneOf("lo", "hi", "wide"); {
	case part == "lo":
		return func(a, b uint64) uint64 { return truncate(a*b, size) }, nil
	case part == "wide" && size < 8:
		return func(a, b uint64) uint64 { return truncate(ext(a)*ext(b), 2*size) }, nil
	case part == "hi" && size < 8:
		return func(a, b uint64) uint64 { return truncate(ext(a)*ext(b)>>(8*size), size) }, nil
	case part == "hi":
		return func(a, b uint64) uint64 {
			hi, _ := bits.Mul64(a, b)
			if k == 's' {
				if int64(a) < 0 {
					hi -= b
				}
				if int64(b) < 0 {
					hi -= a
				}
			}
			return hi
		}, nil
	}
	return nil, fmt.Errorf("want .lo, .hi or .wide")
}
