package ptx

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/dino-mx/dmx/tensor"
)

// Registers hold raw bits in the low end of a uint64. These convert between bits and values.

func f32(b uint64) float32    { return math.Float32frombits(uint32(b)) }
func bf32(f float32) uint64   { return uint64(math.Float32bits(f)) }
func f64(b uint64) float64    { return math.Float64frombits(b) }
func bf64(f float64) uint64   { return math.Float64bits(f) }
func bf16(b uint64) float32   { return tensor.FromBF16(uint16(b)) }
func toBF16(f float32) uint64 { return uint64(tensor.ToBF16(f)) }
func signExt(v uint64, size int) int64 {
	s := 64 - 8*size
	return int64(v<<s) >> s
}

func truncate(v uint64, size int) uint64 {
	if size >= 8 {
		return v
	}
	return v & (1<<(8*size) - 1)
}

// class splits a type into its kind ('u', 's', 'b', 'f', 'h' for f16, 'g' for bf16, upper case for packed
// pairs, 'p') and size.
func class(t string) (byte, int) {
	switch t {
	case "f32", "f64":
		return 'f', typeSizes[t]
	case "f16":
		return 'h', 2
	case "bf16":
		return 'g', 2
	case "f16x2":
		return 'H', 4
	case "bf16x2":
		return 'G', 4
	case "pred":
		return 'p', 0
	case "":
		return 0, 0
	}
	return t[0], typeSizes[t]
}

// unsupported is the error of an instruction whose type, "" for none, is not one of those it knows.
func unsupported(t string) error {
	if t == "" {
		return fmt.Errorf("no type, or one that is not known")
	}
	return fmt.Errorf("type .%s is not supported here", t)
}

// float turns a scalar function of float64 (exact enough for f32: a float64 operation rounded once) into one of
// bits of the type.
func floatOp(t string, f func(a, b float64) float64) (func(a, b uint64) uint64, error) {
	switch t {
	case "f32":
		return func(a, b uint64) uint64 { return bf32(float32(f(float64(f32(a)), float64(f32(b))))) }, nil
	case "f64":
		return func(a, b uint64) uint64 { return bf64(f(f64(a), f64(b))) }, nil
	case "bf16":
		return func(a, b uint64) uint64 { return toBF16(float32(f(float64(bf16(a)), float64(bf16(b))))) }, nil
	case "bf16x2":
		return func(a, b uint64) uint64 {
			lo := toBF16(float32(f(float64(bf16(a)), float64(bf16(b)))))
			hi := toBF16(float32(f(float64(bf16(a>>16)), float64(bf16(b>>16)))))
			return hi<<16 | lo
		}, nil
	}
	return nil, unsupported(t)
}

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

func isFloat(t string) bool {
	k, _ := class(t)
	return k == 'f' || k == 'h' || k == 'g' || k == 'H' || k == 'G'
}

// binaryOps are the two-operand instructions: a function of (modifiers still to consume, type).
var binaryOps = map[string]func(c *compiler, t string) (func(a, b uint64) uint64, error){
	"add": func(c *compiler, t string) (func(a, b uint64) uint64, error) {
		if isFloat(t) {
			c.floatMods()
			return floatOp(t, func(a, b float64) float64 { return a + b })
		}
		return intOp(t, func(a, b uint64) uint64 { return a + b }, func(a, b int64) int64 { return a + b })
	},
	"sub": func(c *compiler, t string) (func(a, b uint64) uint64, error) {
		if isFloat(t) {
			c.floatMods()
			return floatOp(t, func(a, b float64) float64 { return a - b })
		}
		return intOp(t, func(a, b uint64) uint64 { return a - b }, func(a, b int64) int64 { return a - b })
	},
	"div": func(c *compiler, t string) (func(a, b uint64) uint64, error) {
		if isFloat(t) {
			c.floatMods()
			return floatOp(t, func(a, b float64) float64 { return a / b })
		}
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
	},
	"rem": func(c *compiler, t string) (func(a, b uint64) uint64, error) {
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
	},
	"min": func(c *compiler, t string) (func(a, b uint64) uint64, error) {
		if isFloat(t) {
			c.floatMods()
			nan := c.has("NaN")
			return floatOp(t, func(a, b float64) float64 { return minMax(a, b, nan, true) })
		}
		return intOp(t, func(a, b uint64) uint64 { return min(a, b) }, func(a, b int64) int64 { return min(a, b) })
	},
	"max": func(c *compiler, t string) (func(a, b uint64) uint64, error) {
		if isFloat(t) {
			c.floatMods()
			nan := c.has("NaN")
			return floatOp(t, func(a, b float64) float64 { return minMax(a, b, nan, false) })
		}
		return intOp(t, func(a, b uint64) uint64 { return max(a, b) }, func(a, b int64) int64 { return max(a, b) })
	},
	"and": func(c *compiler, t string) (func(a, b uint64) uint64, error) {
		return intOp(t, func(a, b uint64) uint64 { return a & b }, nil)
	},
	"or": func(c *compiler, t string) (func(a, b uint64) uint64, error) {
		return intOp(t, func(a, b uint64) uint64 { return a | b }, nil)
	},
	"xor": func(c *compiler, t string) (func(a, b uint64) uint64, error) {
		return intOp(t, func(a, b uint64) uint64 { return a ^ b }, nil)
	},
	// Shift amounts are 32-bit and clamp at the width.
	"shl": func(c *compiler, t string) (func(a, b uint64) uint64, error) {
		_, size := class(t)
		return func(a, b uint64) uint64 { return truncate(truncate(a, size)<<min(b&fullMask, 64), size) }, nil
	},
	"shr": func(c *compiler, t string) (func(a, b uint64) uint64, error) {
		k, size := class(t)
		if k == 's' {
			return func(a, b uint64) uint64 { return truncate(uint64(signExt(a, size)>>min(b&fullMask, 63)), size) }, nil
		}
		return func(a, b uint64) uint64 { return truncate(a, size) >> min(b&fullMask, 64) }, nil
	},
	"copysign": func(c *compiler, t string) (func(a, b uint64) uint64, error) {
		return floatOp(t, func(a, b float64) float64 { return math.Copysign(b, a) })
	},
}

// minMax follows PTX: a NaN operand gives the other one, unless .NaN asks to propagate it.
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

// floatMods consumes rounding and flush modifiers. Only round-to-nearest is executed; flush-to-zero of
// denormals does not change what our kernels compute within tolerance.
func (c *compiler) floatMods() {
	c.oneOf("rn", "approx", "full", "rna")
	c.has("ftz")
}

var unaryOps = map[string]func(c *compiler, t string) (func(a uint64) uint64, error){
	"neg": func(c *compiler, t string) (func(a uint64) uint64, error) {
		c.has("ftz")
		k, size := class(t)
		switch k {
		case 'f', 'g', 'h':
			return func(a uint64) uint64 { return truncate(a, size) ^ 1<<(8*size-1) }, nil
		case 'G', 'H':
			return func(a uint64) uint64 { return a ^ 0x80008000 }, nil
		}
		return func(a uint64) uint64 { return truncate(-a, size) }, nil
	},
	"abs": func(c *compiler, t string) (func(a uint64) uint64, error) {
		c.has("ftz")
		k, size := class(t)
		switch k {
		case 'f', 'g', 'h':
			return func(a uint64) uint64 { return truncate(a, size) &^ (1 << (8*size - 1)) }, nil
		case 'G', 'H':
			return func(a uint64) uint64 { return a &^ 0x80008000 }, nil
		}
		return func(a uint64) uint64 {
			v := signExt(a, size)
			if v < 0 {
				v = -v
			}
			return truncate(uint64(v), size)
		}, nil
	},
	"not": func(c *compiler, t string) (func(a uint64) uint64, error) {
		_, size := class(t)
		return func(a uint64) uint64 { return truncate(^a, size) }, nil
	},
	"popc": func(c *compiler, t string) (func(a uint64) uint64, error) {
		_, size := class(t)
		return func(a uint64) uint64 { return uint64(bits.OnesCount64(truncate(a, size))) }, nil
	},
	"clz": func(c *compiler, t string) (func(a uint64) uint64, error) {
		_, size := class(t)
		return func(a uint64) uint64 { return uint64(bits.LeadingZeros64(truncate(a, size)) - (64 - 8*size)) }, nil
	},
	"brev": func(c *compiler, t string) (func(a uint64) uint64, error) {
		_, size := class(t)
		return func(a uint64) uint64 { return bits.Reverse64(truncate(a, size)) >> (64 - 8*size) }, nil
	},
	"bfind": func(c *compiler, t string) (func(a uint64) uint64, error) {
		_, size := class(t)
		return func(a uint64) uint64 { return uint64(uint32(bits.Len64(truncate(a, size)) - 1)) }, nil
	},
	// The approximate functions are computed exactly and rounded once; tests compare with tolerance.
	"ex2":   approx(math.Exp2),
	"lg2":   approx(math.Log2),
	"rcp":   approx(func(x float64) float64 { return 1 / x }),
	"sqrt":  approx(math.Sqrt),
	"rsqrt": approx(func(x float64) float64 { return 1 / math.Sqrt(x) }),
	"tanh":  approx(math.Tanh),
	"sin":   approx(math.Sin),
	"cos":   approx(math.Cos),
}

func approx(f func(float64) float64) func(c *compiler, t string) (func(a uint64) uint64, error) {
	return func(c *compiler, t string) (func(a uint64) uint64, error) {
		c.floatMods()
		g, err := floatOp(t, func(a, _ float64) float64 { return f(a) })
		if err != nil {
			return nil, err
		}
		return func(a uint64) uint64 { return g(a, 0) }, nil
	}
}

func (c *compiler) unary() error {
	t := c.typ()
	if t == "" {
		return unsupported(t)
	}
	if c.in.Op == "not" && t == "pred" {
		return c.predNot()
	}
	f, err := unaryOps[c.in.Op](c, t)
	if err != nil {
		return err
	}
	if err := c.nargs(2); err != nil {
		return err
	}
	d, err := c.dst(c.in.Args[0])
	if err != nil {
		return err
	}
	a, err := c.src(c.in.Args[1])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		x, out := a(w), &w.regs[d]
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			out[l] = f(x[l])
		}
	}
	return nil
}

func (c *compiler) predNot() error {
	if err := c.nargs(2); err != nil {
		return err
	}
	d, err := c.pdst(c.in.Args[0])
	if err != nil {
		return err
	}
	a, err := c.psrc(c.in.Args[1])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) { w.preds[d] = w.preds[d]&^m | ^a(w)&m }
	return nil
}

func (c *compiler) binary() error {
	t := c.typ()
	if t == "" {
		return unsupported(t)
	}
	if err := c.nargs(3); err != nil {
		return err
	}
	if t == "pred" {
		return c.predBinary()
	}
	f, err := binaryOps[c.in.Op](c, t)
	if err != nil {
		return err
	}
	d, err := c.dst(c.in.Args[0])
	if err != nil {
		return err
	}
	s, err := c.srcs(c.in.Args[1:])
	if err != nil {
		return err
	}
	a, b := s[0], s[1]
	c.st.run = func(w *warp, m uint32) {
		x, y, out := a(w), b(w), &w.regs[d]
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			out[l] = f(x[l], y[l])
		}
	}
	// The commonest ones without a call per lane.
	switch c.in.Op + "." + t {
	case "add.u32", "add.s32", "add.b32":
		c.st.run = func(w *warp, m uint32) {
			x, y, out := a(w), b(w), &w.regs[d]
			for ; m != 0; m &= m - 1 {
				l := bits.TrailingZeros32(m) & 31
				out[l] = uint64(uint32(x[l]) + uint32(y[l]))
			}
		}
	case "add.u64", "add.s64":
		c.st.run = func(w *warp, m uint32) {
			x, y, out := a(w), b(w), &w.regs[d]
			for ; m != 0; m &= m - 1 {
				l := bits.TrailingZeros32(m) & 31
				out[l] = x[l] + y[l]
			}
		}
	case "add.f32":
		c.st.run = func(w *warp, m uint32) {
			x, y, out := a(w), b(w), &w.regs[d]
			for ; m != 0; m &= m - 1 {
				l := bits.TrailingZeros32(m) & 31
				out[l] = bf32(f32(x[l]) + f32(y[l]))
			}
		}
	}
	return nil
}

func (c *compiler) predBinary() error {
	d, err := c.pdst(c.in.Args[0])
	if err != nil {
		return err
	}
	a, err := c.psrc(c.in.Args[1])
	if err != nil {
		return err
	}
	b, err := c.psrc(c.in.Args[2])
	if err != nil {
		return err
	}
	var f func(a, b uint32) uint32
	switch c.in.Op {
	case "and":
		f = func(a, b uint32) uint32 { return a & b }
	case "or":
		f = func(a, b uint32) uint32 { return a | b }
	case "xor":
		f = func(a, b uint32) uint32 { return a ^ b }
	default:
		return fmt.Errorf("no such operation on predicates")
	}
	c.st.run = func(w *warp, m uint32) { w.preds[d] = w.preds[d]&^m | f(a(w), b(w))&m }
	return nil
}

// ternary compiles d = f(a, b, c).
func (c *compiler) ternary(f func(a, b, c uint64) uint64) error {
	if err := c.nargs(4); err != nil {
		return err
	}
	d, err := c.dst(c.in.Args[0])
	if err != nil {
		return err
	}
	s, err := c.srcs(c.in.Args[1:])
	if err != nil {
		return err
	}
	x, y, z := s[0], s[1], s[2]
	c.st.run = func(w *warp, m uint32) {
		a, b, c, out := x(w), y(w), z(w), &w.regs[d]
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			out[l] = f(a[l], b[l], c[l])
		}
	}
	return nil
}

// mul is a product: of floats, or the low, high or double-width half of an integer product.
func (c *compiler) mul() error {
	t := c.typ()
	if isFloat(t) {
		c.floatMods()
		f, err := floatOp(t, func(a, b float64) float64 { return a * b })
		if err != nil {
			return err
		}
		if err := c.nargs(3); err != nil {
			return err
		}
		return c.binaryWith(f)
	}
	f, err := c.product(t)
	if err != nil {
		return err
	}
	if err := c.nargs(3); err != nil {
		return err
	}
	return c.binaryWith(f)
}

func (c *compiler) binaryWith(f func(a, b uint64) uint64) error {
	d, err := c.dst(c.in.Args[0])
	if err != nil {
		return err
	}
	s, err := c.srcs(c.in.Args[1:])
	if err != nil {
		return err
	}
	a, b := s[0], s[1]
	c.st.run = func(w *warp, m uint32) {
		x, y, out := a(w), b(w), &w.regs[d]
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			out[l] = f(x[l], y[l])
		}
	}
	return nil
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
	return c.ternary(func(a, b, d uint64) uint64 { return truncate(f(a, b)+d, size) })
}

// fma rounds once. A float64 product of two f32 is exact, and the sum of it and an f32 rounded to float64 and
// then to f32 differs from the fused result in the last bit at most, in rare double-rounding cases.
func (c *compiler) fma() error {
	t := c.typ()
	c.floatMods()
	switch t {
	case "f32":
		if err := c.nargs(4); err != nil {
			return err
		}
		d, err := c.dst(c.in.Args[0])
		if err != nil {
			return err
		}
		s, err := c.srcs(c.in.Args[1:])
		if err != nil {
			return err
		}
		x, y, z := s[0], s[1], s[2]
		c.st.run = func(w *warp, m uint32) {
			a, b, c, out := x(w), y(w), z(w), &w.regs[d]
			for ; m != 0; m &= m - 1 {
				l := bits.TrailingZeros32(m) & 31
				out[l] = bf32(float32(float64(f32(a[l]))*float64(f32(b[l])) + float64(f32(c[l]))))
			}
		}
		return nil
	case "f64":
		return c.ternary(func(a, b, d uint64) uint64 { return bf64(math.FMA(f64(a), f64(b), f64(d))) })
	case "bf16":
		return c.ternary(func(a, b, d uint64) uint64 {
			return toBF16(float32(float64(bf16(a))*float64(bf16(b)) + float64(bf16(d))))
		})
	case "bf16x2":
		return c.ternary(func(a, b, d uint64) uint64 {
			lo := toBF16(float32(float64(bf16(a))*float64(bf16(b)) + float64(bf16(d))))
			hi := toBF16(float32(float64(bf16(a>>16))*float64(bf16(b>>16)) + float64(bf16(d>>16))))
			return hi<<16 | lo
		})
	}
	return unsupported(t)
}
