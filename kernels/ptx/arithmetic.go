package ptx

import "math"

func add(c *compiler, t string) (func(a, b uint64) uint64, error) {
	if !isFloat(t) {
		return intAdd(t)
	}
	if t == "f32" && len(c.mods) == 0 {
		return func(a, b uint64) uint64 { return bf32(f32(a) + f32(b)) }, nil
	}
	return c.floatOp(t, func(a, b float64) float64 { return a + b })
}

func subtract(c *compiler, t string) (func(a, b uint64) uint64, error) {
	if !isFloat(t) {
		return intSub(t)
	}
	return c.floatOp(t, func(a, b float64) float64 { return a - b })
}

func minimum(c *compiler, t string) (func(a, b uint64) uint64, error) {
	if !isFloat(t) {
		return intMin(t)
	}
	nan := c.has("NaN")
	return c.floatOp(t, func(a, b float64) float64 { return minMax(a, b, nan, true) })
}

func maximum(c *compiler, t string) (func(a, b uint64) uint64, error) {
	if !isFloat(t) {
		return intMax(t)
	}
	nan := c.has("NaN")
	return c.floatOp(t, func(a, b float64) float64 { return minMax(a, b, nan, false) })
}

func negate(c *compiler, t string) (func(a uint64) uint64, error) {
	return c.signOp(t, intNeg, func(a, signs uint64) uint64 { return a ^ signs })
}

func absolute(c *compiler, t string) (func(a uint64) uint64, error) {
	return c.signOp(t, intAbs, func(a, signs uint64) uint64 { return a &^ signs })
}

// divide makes an integer quotient, or one of floats: exact with .rn, up to 2 units in the last place off with .approx
// and .full. With .approx a divisor above 2^126 gives 0, or NaN under an infinity.
func divide(c *compiler, t string) (func(a, b uint64) uint64, error) {
	if !isFloat(t) {
		return intDiv(t)
	}
	mode := c.oneOf("approx", "full")
	if mode == "" {
		return c.floatOp(t, func(a, b float64) float64 { return a / b })
	}
	if t != "f32" {
		return nil, unsupported(t)
	}
	flush := c.flushes()
	bound := ulps(2)
	g := func(a, b uint64) uint64 {
		x, y := float64(f32(a)), float64(f32(b))
		q := x / y
		if s := math.Abs(y); mode == "approx" && s > 0x1p126 && !math.IsInf(s, 0) {
			q *= 0 // NaN where it is infinite
			return bf32(float32(q))
		}
		return inexact(q, bound(0, q), a&fullMask^b<<32)
	}
	if flush != nil {
		return func(a, b uint64) uint64 { return flush(g(flush(a), flush(b))) }, nil
	}
	return g, nil
}

// mul is a product: of floats, or the low, high or double-width half of an integer product.
func (c *compiler) mul() error {
	t := c.typ()
	var f func(a, b uint64) uint64
	var err error
	if isFloat(t) {
		f, err = c.floatOp(t, func(a, b float64) float64 { return a * b })
	} else {
		f, err = c.product(t)
	}
	if err != nil {
		return err
	}
	return c.binaryWith(f)
}

// mad is an integer product plus an addend; on floats it is fma.
func (c *compiler) mad() error {
	t := c.typ()
	if isFloat(t) {
		c.mods = append(c.mods, t)
		return c.fma()
	}
	_, size := class(t)
	wide := false
	for _, m := range c.mods {
		wide = wide || m == "wide"
	}
	f, err := c.product(t)
	if err != nil {
		return err
	}
	if wide {
		size *= 2
	}
	return c.ternaryWith(func(a, b, d uint64) uint64 { return truncate(f(a, b)+d, size) })
}
