package ptx

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// comparison is the predicate of setp for bits of a type; flush, if any, replaces subnormal f32 first.
func comparison(op, t string, flush func(uint64) uint64) (func(a, b uint64) bool, error) {
	if flush != nil && t != "f32" {
		return nil, fmt.Errorf(".ftz on type .%s", t)
	}
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
		switch {
		case f != nil && flush != nil:
			return func(a, b uint64) bool { return f(get(flush(a)), get(flush(b))) }, nil
		case f != nil:
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
	cmp, err := comparison(op, c.typ(), c.flushes())
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
	first, second := c.in.Args[0], syntax.Operand{Kind: syntax.SinkOperand}
	if first.Kind == syntax.PairOperand {
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
	flush := c.flushes()
	to, from := c.typ(), c.typ()
	cmp, err := comparison(op, from, flush)
	if err != nil {
		return err
	}
	yes := truncate(^uint64(0), syntax.Size(to))
	if to == "f32" {
		yes = bf32(1)
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
