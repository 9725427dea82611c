package ptx

import "fmt"

// mbarrierOp compiles the mbarrier instructions.
func (c *compiler) mbarrierOp() error {
	op := c.oneOf("init", "inval", "arrive", "expect_tx", "complete_tx", "test_wait", "try_wait")
	switch op {
	case "init", "inval":
		return c.mbarrierInit(op)
	case "test_wait", "try_wait":
		return c.mbarrierWait(op == "try_wait")
	case "arrive", "expect_tx", "complete_tx":
		return c.mbarrierArrive(op)
	}
	return fmt.Errorf("the operation is not known to the interpreter")
}

func (c *compiler) mbarrierInit(op string) error {
	space := c.mbarrierSpace()
	if t := c.typ(); t != "b64" {
		return fmt.Errorf("want .b64")
	}
	want := 1
	if op == "init" {
		want = 2
	}
	if err := c.nargs(want); err != nil {
		return err
	}
	at, err := c.address(c.in.Args[0])
	if err != nil {
		return err
	}
	s, err := c.srcs(c.in.Args[1:])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		var a lanes
		at(w, &a)
		each(m, func(l int) {
			if op == "init" {
				w.initMbarrier(space, a[l], l, int(uint32(s[0](w)[l])))
			} else {
				w.invalMbarrier(space, a[l], l)
			}
		})
	}
	return nil
}

// mbarrierArrive compiles arrive (with a state or a sink, an optional count, .expect_tx, .noComplete), expect_tx and
// complete_tx.
func (c *compiler) mbarrierArrive(op string) error {
	both := op == "arrive" && c.has("expect_tx")
	noComplete := op == "arrive" && c.has("noComplete")
	ordered := c.mbarrierOrder("release")
	space := c.mbarrierSpace()
	if t := c.typ(); t != "b64" {
		return fmt.Errorf("want .b64")
	}
	args, d := c.in.Args, c.sink
	if op == "arrive" && len(args) > 0 {
		var err error
		if d, err = c.dst(args[0]); err != nil {
			return err
		}
		args = args[1:]
	}
	// A count is optional only for a plain arrive.
	if len(args) == 0 || len(args) > 2 || len(args) == 1 && (op != "arrive" || both || noComplete) {
		return fmt.Errorf("%d operands", len(c.in.Args))
	}
	at, err := c.address(args[0])
	if err != nil {
		return err
	}
	n := source(func(*warp) *lanes { return &ones })
	if len(args) == 2 {
		if n, err = c.src(args[1]); err != nil {
			return err
		}
	}
	c.st.run = func(w *warp, m uint32) {
		var a lanes
		at(w, &a)
		var last *mbarrier
		phase := 0
		each(m, func(l int) {
			b := w.mbarrier(space, a[l], l)
			v := int(uint32(n(w)[l]))
			if op == "arrive" && ordered && (b != last || phase != b.phase) {
				w.release(&b.arrived, m)
				last, phase = b, b.phase
			}
			w.regs[d][l] = mbarrierState(b)
			switch {
			case op == "expect_tx":
				w.expectTx(b, l, v)
			case op == "complete_tx":
				w.expectTx(b, l, -v)
			case both:
				// The arrival is still pending, so that this alone cannot complete the phase.
				w.expectTx(b, l, v)
				w.arriveMbarrier(b, l, 1)
			default:
				before := b.phase
				w.arriveMbarrier(b, l, v)
				if noComplete && b.phase != before {
					w.l.report(w, BadMbarrier, l, fmt.Sprintf("an arrival marked .noComplete completed a phase of the %v", b))
				}
			}
		})
	}
	return nil
}

var ones = *constant(1)

// mbarrierState is the opaque value that arrive returns: the phase it arrived in.
func mbarrierState(b *mbarrier) uint64 { return uint64(b.phase)<<20 | uint64(b.pending) }

// mbarrierWait compiles test_wait and try_wait, by state or by parity. try_wait blocks the warp until the phase has
// completed; now and then it gives up before, as the hardware does after its time limit. test_wait answers at once.
func (c *compiler) mbarrierWait(try bool) error {
	parity := c.has("parity")
	acquire := c.mbarrierOrder("acquire")
	space := c.mbarrierSpace()
	if t := c.typ(); t != "b64" {
		return fmt.Errorf("want .b64")
	}
	if n := len(c.in.Args); n != 3 && !(try && n == 4) {
		return fmt.Errorf("%d operands", n)
	}
	p, err := c.pdst(c.in.Args[0])
	if err != nil {
		return err
	}
	at, err := c.address(c.in.Args[1])
	if err != nil {
		return err
	}
	s, err := c.srcs(c.in.Args[2:])
	if err != nil {
		return err
	}
	c.st.kind = stepWait
	c.st.wait = func(w *warp, m uint32) bool {
		var a lanes
		at(w, &a)
		var done uint32
		var open *mbarrier
		each(m, func(l int) {
			b := w.mbarrier(space, a[l], l)
			v := s[0](w)[l]
			var complete bool
			if parity {
				if v &= fullMask; v > 1 {
					w.l.report(w, BadMbarrier, l, fmt.Sprintf("parity %d, want 0 or 1", v))
					panic(abort{})
				}
				complete = uint64(b.phase&1) != v
			} else {
				phase := int(v >> 20)
				if phase < b.phase-1 || phase > b.phase {
					w.l.report(w, BadMbarrier, l, fmt.Sprintf("the state is of phase %d; only the current and the last phase can be waited for; %v", phase, b))
					panic(abort{})
				}
				complete = phase != b.phase
			}
			if complete {
				done |= 1 << l
			} else {
				open = b
			}
		})
		if open != nil {
			giveUp := !try || w.l.rand.Intn(4) == 0
			if !giveUp {
				phase := open.phase
				open.waited(w)
				open.waiting = append(open.waiting, mbarrierWait{w, phase})
				w.until = func() bool { return open.phase > phase }
				w.why = open.String
				return false
			}
			w.l.idle++
			w.yield = true
		}
		var last *mbarrier
		each(done, func(l int) {
			if b := w.mbarrier(space, a[l], l); b != last {
				last = b
				b.waited(w)
				if acquire {
					w.observe(&b.completed, done)
				}
			}
		})
		w.preds[p] = w.preds[p]&^m | done
		return true
	}
	return nil
}
