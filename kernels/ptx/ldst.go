package ptx

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

func (c *compiler) ld() error {
	space := c.oneOf("global", "shared", "local", "param", "const")
	c.memMods()
	n := c.vectorWidth()
	t := c.typ()
	_, size := class(t)
	if size == 0 {
		return unsupported(t)
	}
	if err := c.nargs(2); err != nil {
		return err
	}
	ds, err := c.dsts(vector(c.in.Args[0]))
	if err != nil {
		return err
	}
	if len(ds) != n {
		return fmt.Errorf("%d destinations for .v%d", len(ds), n)
	}
	at, err := c.address(c.in.Args[1])
	if err != nil {
		return err
	}
	// A signed value is extended by its sign to the width of its register.
	signed := 0
	if strings.HasPrefix(t, "s") {
		signed = 4
		for _, o := range vector(c.in.Args[0]) {
			if o.Kind == syntax.RegOperand {
				signed = max(signed, c.regSize(o))
			}
		}
	}
	if space == "param" {
		c.st.run = func(w *warp, m uint32) {
			var a lanes
			at(w, &a)
			each(m, func(l int) {
				for i, d := range ds {
					o := a[l] - w.p.k.ParamStart + uint64(i*size)
					if !fits(o, size, len(w.l.params)) {
						w.l.report(w, OutOfBounds, l, fmt.Sprintf("byte %d of %d bytes of parameters", o, len(w.l.params)))
						panic(abort{})
					}
					w.regs[d][l] = load(w.l.params[o:], size, signed)
				}
			})
		}
		return nil
	}
	c.st.run = func(w *warp, m uint32) {
		var a lanes
		at(w, &a)
		w.countAccess(space, &a, m, size*n)
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			b := w.memory(space, a[l], size*n, l, accessRead)
			for i, d := range ds {
				if d >= 0 {
					w.regs[d][l] = load(b[i*size:], size, signed)
				}
			}
		}
	}
	return nil
}

// stOp stores registers to memory.
func (c *compiler) stOp() error {
	space := c.oneOf("global", "shared", "local")
	c.memMods()
	n := c.vectorWidth()
	t := c.typ()
	_, size := class(t)
	if size == 0 {
		return unsupported(t)
	}
	if err := c.nargs(2); err != nil {
		return err
	}
	at, err := c.address(c.in.Args[0])
	if err != nil {
		return err
	}
	s, err := c.srcs(vector(c.in.Args[1]))
	if err != nil {
		return err
	}
	if len(s) != n {
		return fmt.Errorf("%d sources for .v%d", len(s), n)
	}
	c.st.run = func(w *warp, m uint32) {
		var a lanes
		at(w, &a)
		w.countAccess(space, &a, m, size*n)
		for i := range s {
			x := s[i](w)
			for mm := m; mm != 0; mm &= mm - 1 {
				l := bits.TrailingZeros32(mm)
				b := w.memory(space, a[l]+uint64(i*size), size, l, accessWrite)
				store(b, x[l], size)
			}
		}
		if n > 1 {
			each(m, func(l int) { w.aligned(a[l], size*n, l) })
		}
	}
	return nil
}
