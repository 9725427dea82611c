package ptx

import (
	"fmt"
	"math/bits"
)

// live is the number of threads of the block that have not exited.
func (l *launch) liveThreads() int {
	n := 0
	for _, w := range l.warps {
		n += bits.OnesCount32(w.live)
	}
	return n
}

// exited completes barriers that only waited for threads that are gone.
func (l *launch) exited() {
	for i := range l.barriers {
		b := &l.barriers[i]
		if b.want == 0 && len(b.waiting) > 0 && b.arrived >= l.liveThreads() {
			l.complete(b)
		}
	}
	l.tryCompleteCluster()
}

// complete opens a barrier: everything its participants did before they arrived happens before what the waiting
// ones do next.
func (l *launch) complete(b *barrier) {
	l.m.time++
	for _, w := range b.waiting {
		w.observe(&b.clock, w.live)
		w.syncLanes()
		w.blocked = nil
		w.pc++
	}
	l.idle = 0
	b.clock.reset(0)
	*b = barrier{waiting: b.waiting[:0], clock: b.clock}
}

// arrive is bar.sync (wait) and bar.arrive on barrier id for count threads, 0 meaning the whole block.
func (w *warp) arrive(id, count int, wait bool) bool {
	if id < 0 || id > 15 || count < 0 || count%32 != 0 {
		w.l.report(w, BadBarrier, -1, fmt.Sprintf("barrier %d for %d threads", id, count))
		panic(abort{})
	}
	b := &w.l.barriers[id]
	if b.arrived > 0 && b.want != count {
		w.l.report(w, BadBarrier, -1, fmt.Sprintf("barrier %d is used for %d and for %d threads", id, b.want, count))
	}
	b.want = count
	n := 32
	if count == 0 {
		n = bits.OnesCount32(w.live)
	}
	b.arrived += n
	if b.clock.seen == nil {
		b.clock = newClock(len(w.seen))
	}
	w.release(&b.clock, w.live)
	if wait {
		b.waiting = append(b.waiting, w)
		w.blocked = func() bool { return false }
	} else {
		w.pc++
	}
	want := count
	if want == 0 {
		want = w.l.liveThreads()
	}
	if b.arrived > want {
		w.l.report(w, BadBarrier, -1, fmt.Sprintf("%d threads arrived at barrier %d, which expects %d", b.arrived, id, want))
		panic(abort{})
	}
	if b.arrived == want {
		w.l.complete(b)
	}
	return w.blocked == nil
}

// tryCompleteCluster opens the cluster barrier if all living threads have arrived.
func (l *launch) tryCompleteCluster() {
	b := &l.cluster
	if b.arrived == 0 || b.arrived < l.liveThreads() {
		return
	}
	l.idle = 0
	b.opened.merge(&b.clock)
	b.arrived = 0
	b.phase++
}

// bar compiles bar.sync, bar.arrive, bar.warp.sync and their barrier.* spellings.
func (c *compiler) bar() error {
	if c.has("cluster") {
		return c.barrierCluster()
	}
	c.has("cta")
	c.has("aligned")
	c.st.kind = stepSync
	if c.has("warp") {
		c.has("sync")
		if err := c.nargs(1); err != nil {
			return err
		}
		a, err := c.src(c.in.Args[0])
		if err != nil {
			return err
		}
		c.st.sync = func(w *warp, m uint32) bool {
			w.checkMask(uint32(a(w)[bits.TrailingZeros32(m)]), m)
			w.syncLanes()
			w.pc++
			return true
		}
		return nil
	}
	wait := c.oneOf("sync", "arrive") == "sync"
	s, err := c.srcs(c.in.Args)
	if err != nil {
		return err
	}
	if len(s) < 1 || len(s) > 2 || !wait && len(s) != 2 {
		return fmt.Errorf("%d operands", len(s))
	}
	c.st.sync = func(w *warp, m uint32) bool {
		l := bits.TrailingZeros32(m)
		count := 0
		if len(s) == 2 {
			count = int(uint32(s[1](w)[l]))
		}
		return w.arrive(int(uint32(s[0](w)[l])), count, wait)
	}
	return nil
}

// barrierCluster compiles barrier.cluster.arrive and .wait.
func (c *compiler) barrierCluster() error {
	op := c.oneOf("arrive", "wait")
	relaxed := c.has("relaxed")
	c.oneOf("release", "acquire")
	c.has("aligned")
	c.st.kind = stepSync
	switch op {
	case "arrive":
		c.st.sync = func(w *warp, m uint32) bool {
			b := &w.l.cluster
			if w.clusterArrived {
				w.l.report(w, BadBarrier, -1, "the warp arrives at the cluster barrier a second time with no wait between")
				panic(abort{})
			}
			if b.clock.seen == nil {
				b.clock, b.opened = newClock(len(w.seen)), newClock(len(w.seen))
			}
			if !relaxed {
				w.release(&b.clock, m)
			}
			w.clusterArrived, w.clusterPhase = true, b.phase
			b.arrived += bits.OnesCount32(m)
			w.l.tryCompleteCluster()
			w.pc++
			return true
		}
	case "wait":
		c.st.sync = func(w *warp, m uint32) bool {
			b := &w.l.cluster
			if !w.clusterArrived {
				w.l.report(w, BadBarrier, -1, "the warp waits at the cluster barrier where it has not arrived")
				panic(abort{})
			}
			if b.phase == w.clusterPhase {
				w.blocked = func() bool { return b.phase != w.clusterPhase }
				w.why = func() string { return "the other warps at the cluster barrier" }
				return false
			}
			w.why = nil
			w.clusterArrived = false
			w.observe(&b.opened, w.live)
			w.syncLanes()
			w.pc++
			return true
		}
	default:
		return fmt.Errorf("want .arrive or .wait")
	}
	return c.nargs(0)
}
