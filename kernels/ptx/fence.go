package ptx

import "fmt"

// fence compiles fence and membar. Fences among plain accesses order nothing more than barriers already do in this
// memory model. Those towards the async proxy are tracked.
func (c *compiler) fence() error {
	if c.in.Op == "membar" {
		if c.oneOf("cta", "gl", "sys") == "" {
			return fmt.Errorf("want .cta, .gl or .sys")
		}
		c.st.run = func(*warp, uint32) {}
		return c.nargs(0)
	}
	switch c.oneOf("proxy", "mbarrier_init", "acq_rel", "sc", "acquire", "release") {
	case "proxy":
		if !c.has("async") {
			return fmt.Errorf("of the proxy fences only .proxy.async is supported")
		}
		onlyGlobal := c.has("global")
		c.oneOf("shared::cta", "shared::cluster")
		c.st.run = func(w *warp, m uint32) {
			if !onlyGlobal {
				w.fenceProxy(m)
			}
		}
	case "mbarrier_init":
		if !c.has("release") || !c.has("cluster") {
			return fmt.Errorf("want .release.cluster")
		}
		c.st.run = func(w *warp, m uint32) { w.l.publishMbarriers(w) }
	case "":
		return fmt.Errorf("want .acq_rel, .sc, .proxy.async or .mbarrier_init")
	default:
		if c.oneOf("cta", "cluster", "gpu", "sys") == "" {
			return fmt.Errorf("want a scope")
		}
		c.st.run = func(*warp, uint32) {}
	}
	return c.nargs(0)
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

// publishMbarriers notes a fence by the warp after its mbarrier.init.
func (l *launch) publishMbarriers(w *warp) {
	for _, b := range l.mbarriers {
		if b.initWarp == w.id {
			b.published = true
		}
	}
}
