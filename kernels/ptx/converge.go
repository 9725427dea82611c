package ptx

// setAside puts the running group aside until w.until, if another group can run meanwhile. Otherwise the warp blocks
// until one can.
func (w *warp) setAside() bool {
	until := w.until
	for i := range w.others {
		if g := &w.others[i]; g.runnable() {
			w.others = append(w.others, group{pc: w.pc, mask: w.mask, until: until})
			w.mask = 0
			w.regroup()
			return true
		}
	}
	w.blocked = func() bool {
		if until() {
			return true
		}
		for i := range w.others {
			if w.others[i].runnable() {
				return true
			}
		}
		return false
	}
	return false
}

func (g *group) runnable() bool { return !g.parked && (g.until == nil || g.until()) }

// park sets the running group aside at an instruction of the whole warp while others have not come there yet,
// as the hardware does where paths join. It reports false when nobody is left to wait for.
func (w *warp) park() bool {
	for i := range w.others {
		if !w.others[i].parked {
			w.others = append(w.others, group{pc: w.pc, mask: w.mask, parked: true})
			w.mask = 0
			w.regroup()
			return true
		}
	}
	return false
}

// rank orders groups by who runs first: those that can, those that wait for something outside, those that are parked.
func (g *group) rank() int {
	switch {
	case g.runnable():
		return 0
	case !g.parked:
		return 1
	}
	return 2
}

// regroup picks among the groups of the first rank the one with the smallest program counter and merges the groups
// that stand at the same one.
func (w *warp) regroup() {
	if w.mask != 0 {
		w.others = append(w.others, group{pc: w.pc, mask: w.mask})
	}
	best := 0
	for i := range w.others {
		a, b := &w.others[i], &w.others[best]
		if ra, rb := a.rank(), b.rank(); ra < rb || ra == rb && a.pc < b.pc {
			best = i
		}
	}
	w.pc, w.mask = w.others[best].pc, 0
	rest := w.others[:0]
	for _, g := range w.others {
		if g.pc == w.pc {
			w.mask |= g.mask
		} else {
			rest = append(rest, g)
		}
	}
	w.others = rest
}
