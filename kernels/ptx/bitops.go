package ptx

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// bfe extracts a bit field: d = (a >> b) & mask(c), sign-extended for signed types.
func (c *compiler) bfe() error {
	k, size := class(c.typ())
	return c.ternaryWith(func(a, pos, n uint64) uint64 {
		pos, n = pos&255, n&255
		if n == 0 {
			return 0
		}
		v := truncate(a, size)
		if k == 's' {
			v = uint64(signExt(a, size))
		}
		if pos >= uint64(8*size) {
			if k == 's' && signExt(a, size) < 0 {
				return truncate(^uint64(0), size)
			}
			return 0
		}
		v >>= pos
		if k == 's' {
			v = uint64(int64(uint64(signExt(a, size))) >> pos)
		}
		if n < 64 {
			if k == 's' {
				v = uint64(int64(v<<(64-n)) >> (64 - n))
			} else {
				v &= 1<<n - 1
			}
		}
		return truncate(v, size)
	})
}

// bfi inserts the low c bits... of a into b at position c: d = bfi(a, b, pos, len).
func (c *compiler) bfi() error {
	_, size := class(c.typ())
	d, s, err := c.operands(4)
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		a, b, pos, n, out := s[0](w), s[1](w), s[2](w), s[3](w), &w.regs[d]
		each(m, func(l int) {
			p, k := pos[l]&255, n[l]&255
			mask := uint64(0)
			if k > 0 && p < 64 {
				mask = (uint64(1)<<min(k, 63)<<(k/64) - 1) << p
			}
			out[l] = truncate(b[l]&^mask|a[l]<<min(p, 64)&mask, size)
		})
	}
	return nil
}

// prmt picks four bytes out of the eight of a pair; the high bit of a selector replicates the sign.
func (c *compiler) prmt() error {
	if t := c.typ(); t != "b32" {
		return unsupported(t)
	}
	return c.ternaryWith(func(a, b, sel uint64) uint64 {
		v := a&fullMask | b<<32
		out := uint64(0)
		for i := range 4 {
			s := sel >> (4 * i) & 15
			x := v >> (8 * (s & 7)) & 255
			if s&8 != 0 {
				x = uint64(uint8(int8(x) >> 7))
			}
			out |= x << (8 * i)
		}
		return out
	})
}

// shf shifts the 64-bit pair {b,a} and keeps the high (left) or low (right) word.
func (c *compiler) shf() error {
	left := c.oneOf("l", "r") == "l"
	wrap := c.oneOf("wrap", "clamp") == "wrap"
	c.typ()
	return c.ternaryWith(func(a, b, n uint64) uint64 {
		v := a&fullMask | b<<32
		if wrap {
			n &= 31
		} else {
			n = min(n&fullMask, 32)
		}
		if left {
			return v << n >> 32 & fullMask
		}
		return v >> n & fullMask
	})
}

// lop3 is any function of three bits, given as the truth table of its last operand.
func (c *compiler) lop3() error {
	c.typ()
	if err := c.nargs(5); err != nil {
		return err
	}
	if c.in.Args[4].Kind != syntax.ImmOperand {
		return fmt.Errorf("the truth table is not a literal")
	}
	lut := c.in.Args[4].Imm
	c.in.Args = c.in.Args[:4]
	return c.ternaryWith(func(a, b, d uint64) uint64 {
		out := uint64(0)
		for i := range uint64(8) {
			if lut>>i&1 == 0 {
				continue
			}
			x, y, z := a, b, d
			if i&4 == 0 {
				x = ^x
			}
			if i&2 == 0 {
				y = ^y
			}
			if i&1 == 0 {
				z = ^z
			}
			out |= x & y & z
		}
		return out & fullMask
	})
}

// mov copies a register, a literal, an address or a special register, and packs or unpacks vectors.
func (c *compiler) mov() error {
	t := c.typ()
	if err := c.nargs(2); err != nil {
		return err
	}
	to, from := c.in.Args[0], c.in.Args[1]
	if t == "pred" {
		d, err := c.pdst(to)
		if err != nil {
			return err
		}
		a, err := c.psrc(from)
		if err != nil {
			return err
		}
		c.st.run = func(w *warp, m uint32) { w.preds[d] = w.preds[d]&^m | a(w)&m }
		return nil
	}
	_, size := class(t)
	switch {
	case to.Kind == syntax.VectorOperand:
		ds, err := c.dsts(to.Elems)
		if err != nil {
			return err
		}
		a, err := c.src(from)
		if err != nil {
			return err
		}
		part := 8 * size / len(ds)
		c.st.run = func(w *warp, m uint32) {
			x := a(w)
			each(m, func(l int) {
				v := x[l]
				for i, d := range ds {
					if d >= 0 {
						w.regs[d][l] = truncate(v>>(part*i), part/8)
					}
				}
			})
		}
	case from.Kind == syntax.VectorOperand:
		d, err := c.dst(to)
		if err != nil {
			return err
		}
		s, err := c.srcs(from.Elems)
		if err != nil {
			return err
		}
		part := 8 * size / len(s)
		c.st.run = func(w *warp, m uint32) {
			var v lanes
			for i, a := range s {
				x := a(w)
				each(m, func(l int) { v[l] |= truncate(x[l], part/8) << (part * i) })
			}
			each(m, func(l int) { w.regs[d][l] = v[l] })
		}
	default:
		d, err := c.dst(to)
		if err != nil {
			return err
		}
		if from.Kind == syntax.SymbolOperand && strings.HasPrefix(from.Name, c.k.Name+"_param_") {
			v, err := c.symbol(from.Name)
			if err != nil {
				return err
			}
			k := constant(v)
			c.st.run = func(w *warp, m uint32) { w.regs[d] = *k }
			return nil
		}
		a, err := c.src(from)
		if err != nil {
			return err
		}
		c.st.run = func(w *warp, m uint32) {
			x, out := a(w), &w.regs[d]
			if m == fullMask && size == 8 {
				*out = *x
				return
			}
			for ; m != 0; m &= m - 1 {
				l := bits.TrailingZeros32(m)
				out[l] = truncate(x[l], size)
			}
		}
	}
	return nil
}

// cvta turns an address of a state space into a generic one, or back.
func (c *compiler) cvta() error {
	back := c.has("to")
	space := c.oneOf("global", "shared", "local", "param", "const")
	c.has("cta")
	t := c.typ()
	if t != "u64" {
		return unsupported(t)
	}
	base := map[string]uint64{"shared": sharedWindow, "local": localWindow, "param": paramWindow}[space]
	if back {
		base = -base
	}
	return c.unaryWith(func(a uint64) uint64 { return a + base })
}
