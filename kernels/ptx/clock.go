package ptx

import "math/bits"

// clock says, agent by agent, up to which time its actions happened before something. The agents are the warps of
// the block and, after them, its mbarriers: the copy engine writes in the name of the mbarrier that it reports to.
type clock struct {
	seen  []uint32 // what is ordered
	proxy []uint32 // what a proxy fence has ordered for the async proxy (copy engine, wgmma) too
}

func newClock(agents int) clock { return clock{make([]uint32, agents), make([]uint32, agents)} }

func (c *clock) merge(d *clock) {
	for i, t := range d.seen {
		c.seen[i] = max(c.seen[i], t)
	}
	for i, t := range d.proxy {
		c.proxy[i] = max(c.proxy[i], t)
	}
}

func (c *clock) reset(t uint32) {
	for i := range c.seen {
		c.seen[i], c.proxy[i] = t, t
	}
}

// partialClock is what only some lanes of a warp have observed: those that waited for an mbarrier while the others
// did not.
type partialClock struct {
	mask uint32
	clock
}

// release publishes to c what lanes m of the warp have done and seen so far.
func (w *warp) release(c *clock, m uint32) {
	w.l.m.time++
	now := w.l.m.time
	if w.touched&^m != 0 {
		// Accesses of other lanes since the lanes were last together are not ordered before this one.
		now = w.lanesSeen
	}
	c.merge(&w.clock)
	for i := range w.partial {
		if w.partial[i].mask&m != 0 {
			c.merge(&w.partial[i].clock)
		}
	}
	c.seen[w.id] = max(c.seen[w.id], now)
}

// observe takes c over for lanes m.
func (w *warp) observe(c *clock, m uint32) {
	if m == w.live {
		w.clock.merge(c)
		return
	}
	known, others := false, w.live
	for i := range w.partial {
		p := &w.partial[i]
		if p.mask == m {
			p.merge(c)
			known = true
		}
		others &^= p.mask
	}
	if !known {
		p := partialClock{m, newClock(len(c.seen))}
		p.merge(c)
		w.partial = append(w.partial, p)
		others &^= m
	}
	if others == 0 {
		// Every lane has observed something: what is the same for all needs no search among the parts.
		for i := range w.seen {
			seen, proxy := ^uint32(0), ^uint32(0)
			for j := range w.partial {
				seen, proxy = min(seen, w.partial[j].seen[i]), min(proxy, w.partial[j].proxy[i])
			}
			w.seen[i], w.proxy[i] = max(w.seen[i], seen), max(w.proxy[i], proxy)
		}
	}
}

// saw is the time before which the actions of an agent are ordered before what a lane does now; lane -1 asks for
// every lane of the warp.
func (w *warp) saw(agent, lane int) uint32 {
	return w.known(lane, w.seen[agent], func(c *clock) uint32 { return c.seen[agent] })
}

// sawProxy is the same for what the lane asks of the async proxy.
func (w *warp) sawProxy(agent, lane int) uint32 {
	return w.known(lane, w.proxy[agent], func(c *clock) uint32 { return c.proxy[agent] })
}

// known raises t, what all lanes know, to what a lane knows besides: the latest of the clocks that it observed with
// some others. For lane -1 it is what the lane knows that knows least.
func (w *warp) known(lane int, t uint32, of func(*clock) uint32) uint32 {
	if len(w.partial) == 0 {
		return t
	}
	if lane < 0 {
		least := ^uint32(0)
		each(w.live, func(l int) { least = min(least, w.known(l, t, of)) })
		return least
	}
	for i := range w.partial {
		if pick(w.partial[i].mask, lane) {
			t = max(t, of(&w.partial[i].clock))
		}
	}
	return t
}

// syncLanes orders all earlier accesses of the warp's lanes before all later ones.
func (w *warp) syncLanes() {
	w.l.m.time++
	w.lanesSeen = w.l.m.time
	w.touched, w.wrote = 0, 0
	for i := range w.partial {
		w.clock.merge(&w.partial[i].clock)
	}
	w.partial = w.partial[:0]
}

// fenceProxy makes what lanes m have written to shared memory, and what was ordered before, visible to the async
// proxy.
func (w *warp) fenceProxy(m uint32) {
	w.l.m.time++
	now := w.l.m.time
	if w.wrote&^m != 0 {
		now = w.lanesSeen
	}
	for i, t := range w.seen {
		w.proxy[i] = max(w.proxy[i], t)
	}
	w.proxy[w.id] = max(w.proxy[w.id], now)
	for i := range w.partial {
		if p := &w.partial[i]; p.mask&m == p.mask {
			for j, t := range p.seen {
				p.proxy[j] = max(p.proxy[j], t)
			}
		}
	}
	w.l.publishMbarriers(w)
}

// agents is the number of components of a clock: kernels without mbarriers do without theirs.
func (p *program) agents(warps int) int {
	if p.mbarriers {
		return warps + maxMbarriers
	}
	return warps
}

func firstLane(m uint32) int { return bits.TrailingZeros32(m) }
