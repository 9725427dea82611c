package ptx

import "math"

// flushes consumes .ftz, which replaces subnormal f32 inputs and results by zeros of their sign. It returns a function of
// an f32's bits that does so where the modifier stands.
func (c *compiler) flushes() func(uint64) uint64 {
	if c.has("ftz") {
		return flushF32
	}
	return nil
}

// floatOp makes a function of bits of the type from one of float64, after consuming the modifiers: .rn, the only
// rounding that is executed, and .ftz. A float64 operation rounded once is exact enough for the smaller types.
func (c *compiler) floatOp(t string, f func(a, b float64) float64) (func(a, b uint64) uint64, error) {
	c.has("rn")
	flush := c.flushes()
	switch {
	case t == "f32" && flush != nil:
		return func(a, b uint64) uint64 {
			return flush(bf32(float32(f(float64(f32(flush(a))), float64(f32(flush(b)))))))
		}, nil
	case flush != nil:
		return nil, unsupported(t)
	case t == "f32":
		return func(a, b uint64) uint64 { return bf32(float32(f(float64(f32(a)), float64(f32(b))))) }, nil
	case t == "f64":
		return func(a, b uint64) uint64 { return bf64(f(f64(a), f64(b))) }, nil
	case t == "bf16":
		return func(a, b uint64) uint64 { return toBF16(float32(f(float64(bf16(a)), float64(bf16(b))))) }, nil
	case t == "bf16x2":
		return func(a, b uint64) uint64 {
			lo := toBF16(float32(f(float64(bf16(a)), float64(bf16(b)))))
			hi := toBF16(float32(f(float64(bf16(a>>16)), float64(bf16(b>>16)))))
			return hi<<16 | lo
		}, nil
	}
	return nil, unsupported(t)
}

// minMax follows PTX: a NaN operand gives the other one, unless .NaN says that it is the result.
func minMax(a, b float64, nan, less bool) float64 {
	switch {
	case math.IsNaN(a) || math.IsNaN(b):
		if nan || math.IsNaN(a) && math.IsNaN(b) {
			return math.NaN()
		}
		if math.IsNaN(a) {
			return b
		}
		return a
	case less:
		return math.Min(a, b)
	}
	return math.Max(a, b)
}

// copySign is the second operand with the sign of the first.
func copySign(c *compiler, t string) (func(a, b uint64) uint64, error) {
	k, size := class(t)
	if k != 'f' {
		return nil, unsupported(t)
	}
	sign := uint64(1) << (8*size - 1)
	return func(a, b uint64) uint64 { return a&sign | truncate(b, size)&^sign }, nil
}

// signOp makes neg or abs: of an integer, or by changing the signs of one float or of a pair.
func (c *compiler) signOp(t string, ofInt func(t string, size int) func(a uint64) uint64,
	change func(a, signs uint64) uint64) (func(a uint64) uint64, error) {
	flush := c.flushes()
	k, size := class(t)
	signs := uint64(1) << (8*size - 1)
	switch k {
	case 'G', 'H':
		signs = 0x80008000
	case 'f', 'g', 'h':
	default:
		return ofInt(t, size), nil
	}
	if flush != nil {
		if t != "f32" {
			return nil, unsupported(t)
		}
		return func(a uint64) uint64 { return change(flush(truncate(a, size)), signs) }, nil
	}
	return func(a uint64) uint64 { return change(truncate(a, size), signs) }, nil
}

// fma rounds once. A float64 product of two f32 is exact, and the sum of it and an f32 rounded to float64 and
// then to f32 differs from the fused result in the last bit at most, in rare double-rounding cases.
func (c *compiler) fma() error {
	t := c.typ()
	c.has("rn")
	flush := c.flushes()
	if flush != nil && t != "f32" {
		return unsupported(t)
	}
	single := func(a, b, d uint64) uint64 {
		return bf32(float32(float64(f32(a))*float64(f32(b)) + float64(f32(d))))
	}
	half := func(a, b, d uint64) uint64 {
		return toBF16(float32(float64(bf16(a))*float64(bf16(b)) + float64(bf16(d))))
	}
	switch {
	case flush != nil:
		return c.ternaryWith(func(a, b, d uint64) uint64 { return flush(single(flush(a), flush(b), flush(d))) })
	case t == "f32":
		return c.ternaryWith(single)
	case t == "f64":
		return c.ternaryWith(func(a, b, d uint64) uint64 { return bf64(math.FMA(f64(a), f64(b), f64(d))) })
	case t == "bf16":
		return c.ternaryWith(half)
	case t == "bf16x2":
		return c.ternaryWith(func(a, b, d uint64) uint64 { return half(a>>16, b>>16, d>>16)<<16 | half(a, b, d) })
	}
	return unsupported(t)
}
