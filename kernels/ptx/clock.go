package ptx

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

const (
	maxMbarriers = 64        // of one block at a time; the detector keeps a clock component for each
	maxCount     = 1<<20 - 1 // largest arrival count and largest amount of a transaction count (PTX ISA, mbarrier)
)
