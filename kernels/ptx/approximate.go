package ptx

import (
	"fmt"
	"math"
)

// approximation is an approximate function of f32 and the largest error that the PTX ISA documents for it.
type approximation struct {
	f func(float64) float64
	// bound is the largest error at argument x, where the exact result is y.
	bound func(x, y float64) float64
}

// approximations are the functions of one f32 that have a form .approx. Special values are those of the exact function,
// as the tables of the ISA say: rcp and rsqrt of a zero are infinite, lg2 of a zero is -Inf, ex2 of a zero is 1.
var approximations = map[string]approximation{
	"ex2":   {math.Exp2, relative(0x1p-22)},
	"rcp":   {func(x float64) float64 { return 1 / x }, ulps(1)},
	"sqrt":  {math.Sqrt, relative(0x1p-23)},
	"rsqrt": {func(x float64) float64 { return 1 / math.Sqrt(x) }, relative(0x1.125fbeep-23)}, // 2^-22.9
	"tanh":  {math.Tanh, relative(0x1p-11)},
	"sin":   {math.Sin, absoluteBound(0x1.6a09e6p-21)}, // 2^-20.5
	"cos":   {math.Cos, absoluteBound(0x1.6a09e6p-21)},
	"lg2": {math.Log2, func(x, y float64) float64 {
		if x > 0.5 && x < 2 {
			return 0x1p-22
		}
		return 0x1p-22 * math.Abs(y)
	}},
}

func relative(e float64) func(x, y float64) float64 {
	return func(_, y float64) float64 { return e * math.Abs(y) }
}

// absoluteBound is the same everywhere but at 0.
func absoluteBound(e float64) func(x, y float64) float64 {
	return func(x, _ float64) float64 {
		if x == 0 {
			return 0
		}
		return e
	}
}

// ulps is n units in the last place of the result as an f32; a result of 0 is exact.
func ulps(n float64) func(x, y float64) float64 {
	return func(_, y float64) float64 {
		if y == 0 {
			return 0
		}
		return n * ulp(y)
	}
}

// ulp is the distance of the f32 around y, which is finite.
func ulp(y float64) float64 {
	_, exp := math.Frexp(y)
	return math.Ldexp(1, max(exp, -125)-24)
}

// inexact is y with an error that depends on the bits of the arguments alone, anywhere within the bound once it is
// rounded to f32: a kernel that wants more of the function than the ISA promises shows.
func inexact(y, bound float64, seed uint64) uint64 {
	if bound == 0 || math.IsInf(y, 0) || math.IsNaN(y) {
		return bf32(float32(y))
	}
	seed *= 0x9e3779b97f4a7c15
	seed = (seed ^ seed>>32) * 0xd6e8feb86659fd93
	part := float64(int64(seed)) * 0x1p-63 // from -1 to 1
	return bf32(float32(y + part*max(bound-ulp(y)/2, 0)))
}

// approximate makes ex2, lg2, rcp, sqrt, rsqrt, tanh, sin or cos. The forms that round to nearest are exact, those with
// .approx are off by up to their bound. Without .ftz subnormals are arguments and results like others.
func approximate(c *compiler, t string) (func(a uint64) uint64, error) {
	op := c.in.Op
	fn := approximations[op]
	mode := c.oneOf("rn", "approx")
	if mode == "" {
		return nil, fmt.Errorf("want .rn or .approx")
	}
	if mode == "rn" && op != "rcp" && op != "sqrt" || mode == "approx" && t != "f32" {
		return nil, fmt.Errorf("no form .%s of type .%s", mode, t)
	}
	if mode == "rn" {
		g, err := c.floatOp(t, func(a, _ float64) float64 { return fn.f(a) })
		if err != nil {
			return nil, err
		}
		return func(a uint64) uint64 { return g(a, 0) }, nil
	}
	flush := c.flushes()
	g := func(a uint64) uint64 {
		x := float64(f32(a))
		y := fn.f(x)
		if op == "ex2" && x == 0 {
			return bf32(1)
		}
		return inexact(y, fn.bound(x, y), a&fullMask^uint64(op[0])<<32)
	}
	if flush != nil {
		return func(a uint64) uint64 { return flush(g(flush(a))) }, nil
	}
	return g, nil
}
