package ptx

import "fmt"

// atom is a read-modify-write; red is the same without a result. Lanes go in order, blocks and warps in the
// random order of the schedule, so a result that depends on the order of float additions shows.
func (c *compiler) atom() error {
	space := c.oneOf("global", "shared")
	c.memMods()
	c.oneOf("acq_rel")
	op := c.oneOf("add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec")
	c.memMods()
	t := c.typ()
	_, size := class(t)
	if size == 0 {
		return unsupported(t)
	}
	args := c.in.Args
	d := -1
	var err error
	if c.in.Op == "atom" && len(args) > 0 {
		if d, err = c.dst(args[0]); err != nil {
			return err
		}
		args = args[1:]
	}
	if len(args) < 2 {
		return fmt.Errorf("%d operands", len(c.in.Args))
	}
	at, err := c.address(args[0])
	if err != nil {
		return err
	}
	s, err := c.srcs(args[1:])
	if err != nil {
		return err
	}
	var f func(old, v uint64) uint64
	switch op {
	case "exch":
		f = func(_, v uint64) uint64 { return v }
	case "cas":
		if len(s) != 2 {
			return fmt.Errorf("%d operands", len(c.in.Args))
		}
	case "inc":
		f = func(old, v uint64) uint64 {
			if old >= v {
				return 0
			}
			return old + 1
		}
	case "dec":
		f = func(old, v uint64) uint64 {
			if old == 0 || old > v {
				return v
			}
			return old - 1
		}
	case "":
		return fmt.Errorf("no operation")
	default:
		if f, err = binaryOps[op](c, t); err != nil {
			return err
		}
		if t == "f32" && space != "shared" {
			// Outside shared memory a sum of f32 flushes subnormals, without saying so (PTX ISA, atom).
			sum := f
			f = func(old, v uint64) uint64 { return flushF32(sum(flushF32(old), flushF32(v))) }
		}
	}
	c.st.run = func(w *warp, m uint32) {
		var a lanes
		at(w, &a)
		w.countAccess(space, &a, m, size)
		each(m, func(l int) {
			b := w.memory(space, a[l], size, l, accessAtomic)
			old := load(b, size, 0)
			v := truncate(s[0](w)[l], size)
			if op == "cas" {
				if old == v {
					store(b, s[1](w)[l], size)
				}
			} else {
				store(b, f(old, v), size)
			}
			if d >= 0 {
				w.regs[d][l] = old
			}
		})
	}
	return nil
}
