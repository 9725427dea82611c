package ptx

import (
	"fmt"
	"math"
)

// cvt converts between number types. Integer results saturate when they come from a float; narrowing integer
// conversions cut bits; float results round to nearest even unless .rz is asked for.
func (c *compiler) cvt() error {
	round := c.oneOf("rni", "rzi", "rmi", "rpi", "rn", "rz", "rm", "rp", "rna")
	c.has("ftz")
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
	if err := c.nargs(2); err != nil {
		return err
	}
	d, err := c.dst(c.in.Args[0])
	if err != nil {
		return err
	}
	// A narrow result in a wider register is extended by its sign.
	if k, size := class(to); k == 's' && c.in.Args[0].Kind == opReg && c.regSize(c.in.Args[0]) > size {
		g := f
		wide := c.regSize(c.in.Args[0])
		f = func(a uint64) uint64 { return truncate(uint64(signExt(g(a), size)), wide) }
	}
	a, err := c.src(c.in.Args[1])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		x, out := a(w), &w.regs[d]
		each(m, func(l int) { out[l] = f(x[l]) })
	}
	return nil
}

// cvtPair packs two floats into a bf16x2, the first operand in the high half.
func (c *compiler) cvtPair(round string, relu bool) error {
	if round != "rn" {
		return fmt.Errorf("rounding .%s is not supported here", round)
	}
	if err := c.nargs(3); err != nil {
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
	half := func(v float32) uint64 {
		if relu && !(v > 0) {
			v = 0
		}
		return toBF16(v)
	}
	c.st.run = func(w *warp, m uint32) {
		hi, lo, out := s[0](w), s[1](w), &w.regs[d]
		each(m, func(l int) { out[l] = half(f32(hi[l]))<<16 | half(f32(lo[l])) })
	}
	return nil
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
			if sat {
				v = min(max(v, 0), 1)
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

// comparison is the predicate of setp for bits of a type.
func comparison(op, t string) (func(a, b uint64) bool, error) {
	k, size := class(t)
	switch {
	case isFloat(t):
		get := toF64(t)
		if get == nil {
			break
		}
		un := func(x, y float64) bool { return math.IsNaN(x) || math.IsNaN(y) }
		var f func(x, y float64) bool
		switch op {
		case "eq":
			f = func(x, y float64) bool { return x == y }
		case "ne":
			f = func(x, y float64) bool { return x != y && !un(x, y) }
		case "lt":
			f = func(x, y float64) bool { return x < y }
		case "le":
			f = func(x, y float64) bool { return x <= y }
		case "gt":
			f = func(x, y float64) bool { return x > y }
		case "ge":
			f = func(x, y float64) bool { return x >= y }
		case "equ":
			f = func(x, y float64) bool { return x == y || un(x, y) }
		case "neu":
			f = func(x, y float64) bool { return x != y }
		case "ltu":
			f = func(x, y float64) bool { return !(x >= y) }
		case "leu":
			f = func(x, y float64) bool { return !(x > y) }
		case "gtu":
			f = func(x, y float64) bool { return !(x <= y) }
		case "geu":
			f = func(x, y float64) bool { return !(x < y) }
		case "num":
			f = func(x, y float64) bool { return !un(x, y) }
		case "nan":
			f = un
		}
		if f != nil {
			return func(a, b uint64) bool { return f(get(a), get(b)) }, nil
		}
	case k == 's':
		var f func(x, y int64) bool
		switch op {
		case "eq":
			f = func(x, y int64) bool { return x == y }
		case "ne":
			f = func(x, y int64) bool { return x != y }
		case "lt":
			f = func(x, y int64) bool { return x < y }
		case "le":
			f = func(x, y int64) bool { return x <= y }
		case "gt":
			f = func(x, y int64) bool { return x > y }
		case "ge":
			f = func(x, y int64) bool { return x >= y }
		}
		if f != nil {
			return func(a, b uint64) bool { return f(signExt(a, size), signExt(b, size)) }, nil
		}
	default:
		var f func(x, y uint64) bool
		switch op {
		case "eq":
			f = func(x, y uint64) bool { return x == y }
		case "ne":
			f = func(x, y uint64) bool { return x != y }
		case "lt", "lo":
			f = func(x, y uint64) bool { return x < y }
		case "le", "ls":
			f = func(x, y uint64) bool { return x <= y }
		case "gt", "hi":
			f = func(x, y uint64) bool { return x > y }
		case "ge", "hs":
			f = func(x, y uint64) bool { return x >= y }
		}
		if f != nil {
			return func(a, b uint64) bool { return f(truncate(a, size), truncate(b, size)) }, nil
		}
	}
	return nil, fmt.Errorf("comparison .%s of type .%s is not supported", op, t)
}

var comparisons = []string{"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"}

// setp compares and writes a predicate, and with d|q the opposite one too; .and/.or/.xor combine it with a third
// operand.
func (c *compiler) setp() error {
	op := c.oneOf(comparisons...)
	comb := c.oneOf("and", "or", "xor")
	c.has("ftz")
	cmp, err := comparison(op, c.typ())
	if err != nil {
		return err
	}
	want := 3
	if comb != "" {
		want = 4
	}
	if err := c.nargs(want); err != nil {
		return err
	}
	first, second := c.in.Args[0], Operand{Kind: opSink}
	if first.Kind == opPair {
		first, second = first.Elems[0], first.Elems[1]
	}
	d, err := c.pdst(first)
	if err != nil {
		return err
	}
	q, err := c.pdst(second)
	if err != nil {
		return err
	}
	s, err := c.srcs(c.in.Args[1:3])
	if err != nil {
		return err
	}
	with := func(*warp) uint32 { return 0 }
	if comb != "" {
		if with, err = c.psrc(c.in.Args[3]); err != nil {
			return err
		}
	}
	mix := func(a, b uint32) uint32 { return a }
	switch comb {
	case "and":
		mix = func(a, b uint32) uint32 { return a & b }
	case "or":
		mix = func(a, b uint32) uint32 { return a | b }
	case "xor":
		mix = func(a, b uint32) uint32 { return a ^ b }
	}
	a, b := s[0], s[1]
	c.st.run = func(w *warp, m uint32) {
		x, y := a(w), b(w)
		var r uint32
		each(m, func(l int) {
			if cmp(x[l], y[l]) {
				r |= 1 << l
			}
		})
		p := with(w)
		if d >= 0 {
			w.preds[d] = w.preds[d]&^m | mix(r, p)&m
		}
		if q >= 0 {
			w.preds[q] = w.preds[q]&^m | mix(^r, p)&m
		}
	}
	return nil
}

// set compares and writes all ones (or 1.0) or zero to a data register.
func (c *compiler) set() error {
	op := c.oneOf(comparisons...)
	c.has("ftz")
	to, from := c.typ(), c.typ()
	cmp, err := comparison(op, from)
	if err != nil {
		return err
	}
	yes := truncate(^uint64(0), typeSizes[to])
	if to == "f32" {
		yes = bf32(1)
	}
	if err := c.nargs(3); err != nil {
		return err
	}
	return c.binaryWith(func(a, b uint64) uint64 {
		if cmp(a, b) {
			return yes
		}
		return 0
	})
}

// selp picks one of two values by a predicate.
func (c *compiler) selp() error {
	_, size := class(c.typ())
	if err := c.nargs(4); err != nil {
		return err
	}
	d, err := c.dst(c.in.Args[0])
	if err != nil {
		return err
	}
	s, err := c.srcs(c.in.Args[1:3])
	if err != nil {
		return err
	}
	p, err := c.psrc(c.in.Args[3])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		a, b, q, out := s[0](w), s[1](w), p(w), &w.regs[d]
		each(m, func(l int) {
			if pick(q, l) {
				out[l] = truncate(a[l], size)
			} else {
				out[l] = truncate(b[l], size)
			}
		})
	}
	return nil
}
