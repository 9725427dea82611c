package ptx

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// cvt converts between number types. Integer results saturate when they come from a float; narrowing integer
// conversions drop the high bits; float results round to nearest even, or toward zero with .rz. A NaN becomes the
// canonical one of a float type, and of an integer type what the PTX ISA says.
func (c *compiler) cvt() error {
	round := c.oneOf("rni", "rzi", "rmi", "rpi", "rn", "rz", "rm", "rp", "rna")
	flush := c.flushes()
	c.has("satfinite")
	sat := c.has("sat")
	relu := c.has("relu")
	to, from := c.typ(), c.typ()
	if to == "" || from == "" {
		return fmt.Errorf("two types are wanted")
	}
	if to == "bf16x2" && from == "f32" {
		return c.cvtPair(round, relu)
	}
	f, err := conversion(to, from, round, sat)
	if err != nil {
		return err
	}
	if flush != nil {
		if f, err = flushed(f, to, from, flush); err != nil {
			return err
		}
	}
	// A narrow result in a wider register is extended by its sign.
	if k, size := class(to); k == 's' && len(c.in.Args) > 0 && c.in.Args[0].Kind == syntax.RegOperand && c.regSize(c.in.Args[0]) > size {
		g := f
		wide := c.regSize(c.in.Args[0])
		f = func(a uint64) uint64 { return truncate(uint64(signExt(g(a), size)), wide) }
	}
	return c.unaryWith(f)
}

// flushed is conversion f with the subnormal f32 among its arguments and results replaced.
func flushed(f func(uint64) uint64, to, from string, flush func(uint64) uint64) (func(uint64) uint64, error) {
	switch {
	case to == "f32" && from == "f32":
		return func(a uint64) uint64 { return flush(f(flush(a))) }, nil
	case to == "f32":
		return func(a uint64) uint64 { return flush(f(a)) }, nil
	case from == "f32":
		return func(a uint64) uint64 { return f(flush(a)) }, nil
	}
	return nil, fmt.Errorf(".ftz with no .f32")
}

// cvtPair packs two floats into a bf16x2, the first operand in the high half.
func (c *compiler) cvtPair(round string, relu bool) error {
	if round != "rn" {
		return fmt.Errorf("rounding .%s is not supported here", round)
	}
	half := func(b uint64) uint64 {
		if v := f32(b); relu && v <= 0 { // a NaN stays one
			return 0
		}
		return toBF16(f32(b))
	}
	return c.binaryWith(func(hi, lo uint64) uint64 { return half(hi)<<16 | half(lo) })
}

// toF64 and fromF64 pass every float type through float64, which holds each of them exactly.
func toF64(t string) func(uint64) float64 {
	switch t {
	case "f32":
		return func(a uint64) float64 { return float64(f32(a)) }
	case "f64":
		return f64
	case "bf16":
		return func(a uint64) float64 { return float64(bf16(a)) }
	case "f16":
		return func(a uint64) float64 { return halfToFloat(uint16(a)) }
	}
	return nil
}

func fromF64(t string) func(float64) uint64 {
	switch t {
	case "f32":
		return func(v float64) uint64 { return bf32(float32(v)) }
	case "f64":
		return bf64
	case "bf16":
		return func(v float64) uint64 { return toBF16(float32(v)) }
	}
	return nil
}

// halfToFloat widens an IEEE half.
func halfToFloat(h uint16) float64 {
	sign := 1.0
	if h&0x8000 != 0 {
		sign = -1
	}
	exp, frac := int(h>>10&31), float64(h&1023)
	switch exp {
	case 0:
		return sign * frac * 0x1p-24
	case 31:
		if frac != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1+frac/1024, exp-15)
}

func conversion(to, from, round string, sat bool) (func(uint64) uint64, error) {
	tk, ts := class(to)
	fk, fs := class(from)
	switch {
	case isFloat(to) && isFloat(from):
		get, put := toF64(from), fromF64(to)
		if get == nil || put == nil {
			break
		}
		trunc := roundTo(round)
		return func(a uint64) uint64 {
			v := get(a)
			if trunc != nil && (round != "rn" && round != "rz") {
				v = trunc(v)
			}
			if sat { // a NaN becomes 0
				v = min(max(v, 0), 1)
				if math.IsNaN(v) {
					v = 0
				}
			}
			if round == "rz" && ts < fs {
				return towardZero(v, put, toF64(to))
			}
			return put(v)
		}, nil
	case isFloat(to):
		put := fromF64(to)
		if put == nil {
			break
		}
		return func(a uint64) uint64 {
			if fk == 's' {
				v := signExt(a, fs)
				if to == "f32" {
					return bf32(float32(v))
				}
				return put(float64(v))
			}
			v := truncate(a, fs)
			if to == "f32" {
				return bf32(float32(v))
			}
			return put(float64(v))
		}, nil
	case isFloat(from):
		get, trunc := toF64(from), roundTo(round)
		if get == nil || trunc == nil {
			break
		}
		return func(a uint64) uint64 {
			v := trunc(get(a))
			if math.IsNaN(v) {
				// Zero, except from .f64 or to 64 bits.
				if from == "f64" || ts == 8 {
					return 1 << (8*ts - 1)
				}
				return 0
			}
			if tk == 's' {
				lim := math.Ldexp(1, 8*ts-1)
				switch {
				case v >= lim:
					return 1<<(8*ts-1) - 1
				case v < -lim:
					return 1 << (8*ts - 1)
				}
				return truncate(uint64(int64(v)), ts)
			}
			switch {
			case v <= 0:
				return 0
			case v >= math.Ldexp(1, 8*ts):
				return truncate(math.MaxUint64, ts)
			}
			return uint64(v)
		}, nil
	default:
		if sat {
			return nil, fmt.Errorf(".sat between integers is not supported")
		}
		return func(a uint64) uint64 {
			if fk == 's' {
				return truncate(uint64(signExt(a, fs)), ts)
			}
			return truncate(truncate(a, fs), ts)
		}, nil
	}
	return nil, fmt.Errorf("conversion from .%s to .%s with rounding %q is not supported", from, to, round)
}

func roundTo(round string) func(float64) float64 {
	switch round {
	case "rni", "rn":
		return math.RoundToEven
	case "rzi", "rz":
		return math.Trunc
	case "rmi", "rm":
		return math.Floor
	case "rpi", "rp":
		return math.Ceil
	}
	return nil
}

// towardZero rounds v to the type of put without growing its magnitude.
func towardZero(v float64, put func(float64) uint64, get func(uint64) float64) uint64 {
	b := put(v)
	if math.Abs(get(b)) > math.Abs(v) {
		b--
	}
	return b
}
