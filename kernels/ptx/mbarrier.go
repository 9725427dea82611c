package ptx

import "fmt"

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
