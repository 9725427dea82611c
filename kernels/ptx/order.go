package ptx

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

// agents is the number of components of a clock: kernels without mbarriers do without theirs.
func (p *program) agents(warps int) int {
	if p.mbarriers {
		return warps + maxMbarriers
	}
	return warps
}
