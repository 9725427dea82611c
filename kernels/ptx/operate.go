package ptx

import "math/bits"

// operands resolves the operands of "op d, a, b, …": one destination and n sources.
func (c *compiler) operands(n int) (int, []source, error) {
	if err := c.nargs(n + 1); err != nil {
		return 0, nil, err
	}
	d, err := c.dst(c.in.Args[0])
	if err != nil {
		return 0, nil, err
	}
	s, err := c.srcs(c.in.Args[1:])
	return d, s, err
}

// unaryWith compiles d = f(a).
func (c *compiler) unaryWith(f func(a uint64) uint64) error {
	d, s, err := c.operands(1)
	if err != nil {
		return err
	}
	x := s[0]
	c.st.run = func(w *warp, m uint32) {
		a, out := x(w), &w.regs[d]
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			out[l] = f(a[l])
		}
	}
	return nil
}

// binaryWith compiles d = f(a, b).
func (c *compiler) binaryWith(f func(a, b uint64) uint64) error {
	d, s, err := c.operands(2)
	if err != nil {
		return err
	}
	x, y := s[0], s[1]
	c.st.run = func(w *warp, m uint32) {
		a, b, out := x(w), y(w), &w.regs[d]
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			out[l] = f(a[l], b[l])
		}
	}
	return nil
}

// ternaryWith compiles d = f(a, b, c).
func (c *compiler) ternaryWith(f func(a, b, c uint64) uint64) error {
	d, s, err := c.operands(3)
	if err != nil {
		return err
	}
	x, y, z := s[0], s[1], s[2]
	c.st.run = func(w *warp, m uint32) {
		a, b, c, out := x(w), y(w), z(w), &w.regs[d]
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			out[l] = f(a[l], b[l], c[l])
		}
	}
	return nil
}

// nop accepts an instruction that has no effect on results, with any modifiers.
func (c *compiler) nop() error {
	c.mods = nil
	c.st.run = func(*warp, uint32) {}
	return nil
}
