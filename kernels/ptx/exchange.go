package ptx

import (
	"fmt"
	"math/bits"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// checkMask compares the mask operand of a .sync instruction with the lanes that execute it.
func (w *warp) checkMask(named, m uint32) {
	if named&w.live != m {
		w.l.report(w, PartialMask, -1, fmt.Sprintf("the mask names lanes %#08x, lanes %#08x execute", named, m))
		panic(abort{})
	}
}

// dstPair is the destination d[|p]: a register and a predicate, which may be left out.
func (c *compiler) dstPair() (d, p int, err error) {
	to, q := c.in.Args[0], syntax.Operand{Kind: syntax.SinkOperand}
	if to.Kind == syntax.PairOperand {
		to, q = to.Elems[0], to.Elems[1]
	}
	if d, err = c.dst(to); err != nil {
		return 0, 0, err
	}
	p, err = c.pdst(q)
	return d, p, err
}

// shfl exchanges registers between lanes: d[|p], a, b, c, mask.
func (c *compiler) shfl() error {
	if !c.has("sync") {
		return fmt.Errorf("only shfl.sync is supported")
	}
	mode := c.oneOf("up", "down", "bfly", "idx")
	if t := c.typ(); t != "b32" || mode == "" {
		return fmt.Errorf("want a mode and .b32")
	}
	if err := c.nargs(5); err != nil {
		return err
	}
	d, p, err := c.dstPair()
	if err != nil {
		return err
	}
	s, err := c.srcs(c.in.Args[1:])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		a, b, cc := *s[0](w), s[1](w), s[2](w)
		w.checkMask(uint32(s[3](w)[bits.TrailingZeros32(m)]), m)
		var ok uint32
		each(m, func(l int) {
			seg, clamp := int(cc[l]>>8&31), int(cc[l]&31)
			top := l&seg | clamp&^seg
			low := l & seg
			n := int(b[l] & 31)
			var j int
			var in bool
			switch mode {
			case "up":
				j = l - n
				in = j >= top
			case "down":
				j = l + n
				in = j <= top
			case "bfly":
				j = l ^ n
				in = j <= top
			case "idx":
				j = low | n&^seg
				in = j <= top
			}
			if !in {
				j = l
			} else {
				ok |= 1 << l
			}
			if !pick(m, j) {
				w.l.report(w, PartialMask, l, fmt.Sprintf("lane %d, which is read, does not take part", j))
			}
			w.regs[d][l] = a[j]
		})
		if p >= 0 {
			w.preds[p] = w.preds[p]&^m | ok
		}
	}
	return nil
}

// vote combines a predicate over the warp: all, any, uni or ballot.
func (c *compiler) vote() error {
	if !c.has("sync") {
		return fmt.Errorf("only vote.sync is supported")
	}
	mode := c.oneOf("all", "any", "uni", "ballot")
	t := c.typ()
	if err := c.nargs(3); err != nil {
		return err
	}
	a, err := c.psrc(c.in.Args[1])
	if err != nil {
		return err
	}
	mask, err := c.src(c.in.Args[2])
	if err != nil {
		return err
	}
	if mode == "ballot" {
		if t != "b32" {
			return fmt.Errorf("vote.ballot wants .b32")
		}
		d, err := c.dst(c.in.Args[0])
		if err != nil {
			return err
		}
		c.st.run = func(w *warp, m uint32) {
			w.checkMask(uint32(mask(w)[bits.TrailingZeros32(m)]), m)
			v := uint64(a(w) & m)
			each(m, func(l int) { w.regs[d][l] = v })
		}
		return nil
	}
	d, err := c.pdst(c.in.Args[0])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		w.checkMask(uint32(mask(w)[bits.TrailingZeros32(m)]), m)
		v := a(w) & m
		yes := false
		switch mode {
		case "all":
			yes = v == m
		case "any":
			yes = v != 0
		case "uni":
			yes = v == m || v == 0
		}
		w.preds[d] &^= m
		if yes {
			w.preds[d] |= m
		}
	}
	return nil
}

func (c *compiler) activemask() error {
	c.typ()
	if err := c.nargs(1); err != nil {
		return err
	}
	d, err := c.dst(c.in.Args[0])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) { each(m, func(l int) { w.regs[d][l] = uint64(m) }) }
	return nil
}

// redux reduces an integer over the warp.
func (c *compiler) redux() error {
	if !c.has("sync") {
		return fmt.Errorf("only redux.sync is supported")
	}
	op := c.oneOf("add", "min", "max", "and", "or", "xor")
	t := c.typ()
	if op == "" {
		return fmt.Errorf("no operation")
	}
	f, err := binaryOps[op](c, t)
	if err != nil {
		return err
	}
	d, s, err := c.operands(2)
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		a := s[0](w)
		w.checkMask(uint32(s[1](w)[bits.TrailingZeros32(m)]), m)
		first := bits.TrailingZeros32(m)
		v := a[first]
		each(m&^(1<<first), func(l int) { v = f(v, a[l]) })
		each(m, func(l int) { w.regs[d][l] = v })
	}
	return nil
}
