package ptx

import "fmt"

const (
	maxMbarriers = 64        // of one block at a time; the detector keeps a clock component for each
	maxCount     = 1<<20 - 1 // largest arrival count and largest amount of a transaction count (PTX ISA, mbarrier)
)

// mbarrier is one mbarrier object. A phase completes when no arrival is pending and the transaction count is zero.
type mbarrier struct {
	off     uint64 // in shared memory
	agent   int    // in whose name the copy engine writes what it reports here
	count   int    // arrivals a phase expects
	pending int    // arrivals the current phase still expects
	tx      int    // bytes the current phase still expects
	phase   int    // number of completed phases

	arrived   clock // what happened before the arrivals so far
	completed clock // what happened before the completed phases

	initWarp, initLane int
	initTime           uint32
	published          bool // a fence has made the initial state visible to the async proxy

	waiting []mbarrierWait
}

// mbarrierWait is a warp that waits for a phase and has not gone on yet.
type mbarrierWait struct {
	w     *warp
	phase int
}

func (b *mbarrier) String() string {
	return fmt.Sprintf("mbarrier at byte %d of shared memory (phase %d: %d of %d arrivals pending, transaction count %d)", b.off, b.phase, b.pending, b.count, b.tx)
}

// agentName describes an agent that is an mbarrier.
func (l *launch) agentName(agent int) string {
	for _, b := range l.mbarriers {
		if b.agent == agent {
			return b.String()
		}
	}
	return "an mbarrier that is gone"
}

// publishMbarriers notes a fence by the warp after its mbarrier.init.
func (l *launch) publishMbarriers(w *warp) {
	for _, b := range l.mbarriers {
		if b.initWarp == w.id {
			b.published = true
		}
	}
}

// mbarrierOffset resolves the address of an mbarrier object.
func (w *warp) mbarrierOffset(space string, addr uint64, lane int) uint64 {
	if space == "" {
		addr -= sharedWindow
	}
	w.aligned(addr, 8, lane)
	if !w.l.shared.inBounds(addr, 8) {
		w.l.report(w, OutOfBounds, lane, fmt.Sprintf("mbarrier at byte %d of %d bytes of shared memory", int64(addr)-sharedStart, len(w.l.shared.data)))
		panic(abort{})
	}
	return addr - sharedStart
}

// mbarrier finds the initialised object at an address and checks that its initialisation is ordered before its use.
func (w *warp) mbarrier(space string, addr uint64, lane int) *mbarrier {
	off := w.mbarrierOffset(space, addr, lane)
	b := w.l.mbarriers[off]
	if b == nil {
		w.l.report(w, BadMbarrier, lane, fmt.Sprintf("no mbarrier was initialised at byte %d of shared memory", off))
		panic(abort{})
	}
	if !ordered(w, b.initWarp, b.initLane, lane, b.initTime) {
		w.l.report(w, Race, lane, fmt.Sprintf("the mbarrier at byte %d of shared memory was initialised by warp %d lane %d with no barrier since", off, b.initWarp, b.initLane))
	}
	return b
}

func (w *warp) initMbarrier(space string, addr uint64, lane, count int) {
	l := w.l
	off := w.mbarrierOffset(space, addr, lane)
	if old := l.mbarriers[off]; old != nil {
		l.report(w, BadMbarrier, lane, fmt.Sprintf("the %v is in use; mbarrier.inval comes first", old))
		panic(abort{})
	}
	if count < 1 || count > maxCount {
		l.report(w, BadMbarrier, lane, fmt.Sprintf("count %d, want 1 to %d", count, maxCount))
		panic(abort{})
	}
	used := map[int]bool{}
	for _, b := range l.mbarriers {
		used[b.agent] = true
	}
	agent := l.shared.nw
	for used[agent] {
		agent++
	}
	if agent >= l.shared.nw+maxMbarriers {
		l.report(w, BadMbarrier, lane, fmt.Sprintf("more than %d mbarriers in one block are not supported", maxMbarriers))
		panic(abort{})
	}
	l.shared.write(w, lane, off, 8, false)
	for i := off / 2; i < off/2+4; i++ {
		l.shared.words[i].async = wordMbarrier
	}
	n := len(w.seen)
	l.mbarriers[off] = &mbarrier{off: off, agent: agent, count: count, pending: count, arrived: newClock(n), completed: newClock(n),
		initWarp: w.id, initLane: lane, initTime: l.m.time}
}

func (w *warp) invalMbarrier(space string, addr uint64, lane int) {
	b := w.mbarrier(space, addr, lane)
	if len(b.waiting) > 0 {
		w.l.report(w, BadMbarrier, lane, fmt.Sprintf("a warp still waits for the %v", b))
	}
	delete(w.l.mbarriers, b.off)
	for i := b.off / 2; i < b.off/2+4; i++ {
		w.l.shared.words[i] = sword{wtime: w.l.m.time, wwarp: int8(w.id), wlane: int8(lane), async: -1}
	}
	clear(w.l.shared.init[b.off : b.off+8])
}

// arriveMbarrier counts n arrivals.
func (w *warp) arriveMbarrier(b *mbarrier, lane, n int) {
	if n < 1 || n > b.pending {
		w.l.report(w, BadMbarrier, lane, fmt.Sprintf("%d arrivals at the %v", n, b))
		panic(abort{})
	}
	b.pending -= n
	w.l.idle = 0
	w.l.tryComplete(b)
}

// expectTx adds to the bytes the current phase expects; a negative number is bytes that came.
func (w *warp) expectTx(b *mbarrier, lane, n int) {
	b.tx += n
	if b.tx > maxCount || b.tx < -maxCount {
		w.l.report(w, BadMbarrier, lane, fmt.Sprintf("transaction count out of range (%d) of the %v", maxCount, b))
		panic(abort{})
	}
	w.l.idle = 0
	w.l.tryComplete(b)
}

// tryComplete ends the phase if nothing is outstanding.
func (l *launch) tryComplete(b *mbarrier) {
	if b.pending != 0 || b.tx != 0 {
		return
	}
	b.completed.merge(&b.arrived)
	b.pending = b.count
	b.phase++
	rest := b.waiting[:0]
	for _, x := range b.waiting {
		if x.phase < b.phase-1 {
			l.report(x.w, BadMbarrier, -1, fmt.Sprintf("phases %d and %d completed before the warp, which waits for the first, could go on: it may miss both; %v", x.phase, b.phase-1, b))
			continue
		}
		rest = append(rest, x)
	}
	b.waiting = rest
}

// waited ends the wait of a warp for a phase.
func (b *mbarrier) waited(w *warp) {
	rest := b.waiting[:0]
	for _, x := range b.waiting {
		if x.w != w {
			rest = append(rest, x)
		}
	}
	b.waiting = rest
}

// mbarrierSpace consumes the state space of the object: "shared", or "" for a generic address. A block is its own
// cluster, so that shared::cluster addresses are those of the block.
func (c *compiler) mbarrierSpace() string {
	if c.oneOf("shared", "shared::cta", "shared::cluster") != "" {
		return "shared"
	}
	return ""
}

// mbarrierOrder consumes the semantics and scope; it reports false for .relaxed.
func (c *compiler) mbarrierOrder(strong string) bool {
	relaxed := c.has("relaxed")
	c.has(strong)
	c.oneOf("cta", "cluster")
	return !relaxed
}

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
