package ptx

import (
	"fmt"
	"math/bits"
)

func newWarp(l *launch, id, nw int) *warp {
	p := l.p
	w := &warp{l: l, p: p, id: id, regs: make([]lanes, p.nregs), init: make([]uint32, p.nregs),
		preds: make([]uint32, p.npred), pinit: make([]uint32, p.npred), clock: newClock(p.agents(nw)),
		local: make([]byte, 32*p.k.LocalLen), linit: make([]byte, 32*p.k.LocalLen)}
	return w
}

func (w *warp) start(threads int) {
	w.live = uint32(uint64(1)<<threads - 1)
	w.pc, w.mask, w.others = 0, w.live, w.others[:0]
	clear(w.init)
	clear(w.pinit)
	clear(w.linit)
	w.clock.reset(w.l.m.time)
	w.partial = w.partial[:0]
	w.lanesSeen, w.touched, w.wrote = w.l.m.time, 0, 0
	w.blocked, w.why, w.yield = nil, nil, false
	w.async.reset()
	w.registers = w.registers[:0]
	w.clusterArrived = false
	if w.p.matrix {
		w.mma.reset(w.p.nregs)
	}
}

// run executes instructions until the warp blocks or ends, or the quantum is used up.
func (w *warp) run(quantum int) {
	steps := w.p.steps
	for ; quantum > 0; quantum-- {
		if w.pc >= len(steps) {
			w.l.report2(w, "control runs past the end of the kernel")
		}
		st := &steps[w.pc]
		if st.converge && len(w.others) > 0 && w.park() {
			continue
		}
		m := w.mask
		if st.guard >= 0 {
			if missing := m &^ w.pinit[st.guard]; missing != 0 {
				w.l.report(w, Uninitialised, bits.TrailingZeros32(missing), "guard predicate was never set")
			}
			p := w.preds[st.guard]
			if st.negate {
				p = ^p
			}
			m &= p
		}
		if w.l.budget--; w.l.budget < 0 {
			w.l.report(w, Deadlock, -1, fmt.Sprintf("more than %d instructions in one launch", w.l.m.MaxInstructions))
			panic(abort{})
		}
		w.l.counters.Instructions++
		if m != 0 {
			w.l.counters.PerInstr[w.pc].Execs++
			for _, r := range st.reads {
				if m&^w.init[r] != 0 {
					w.l.report(w, Uninitialised, bits.TrailingZeros32(m&^w.init[r]), "register "+w.p.regName(r)+" was never written")
					w.init[r] |= m
				}
			}
			for _, r := range st.preads {
				if m&^w.pinit[r] != 0 {
					w.l.report(w, Uninitialised, bits.TrailingZeros32(m&^w.pinit[r]), "predicate "+w.p.regName(r)+" was never written")
					w.pinit[r] |= m
				}
			}
			if st.mmaRegs != nil {
				w.touchMatrixRegisters(st.mmaRegs)
			}
		}
		switch st.kind {
		case stepPlain:
			if m != 0 {
				st.run(w, m)
				for _, r := range st.writes {
					w.init[r] |= m
				}
				for _, r := range st.pwrites {
					w.pinit[r] |= m
				}
			}
			w.pc++
		case stepBranch:
			switch m {
			case w.mask:
				w.pc = st.target
			case 0:
				w.pc++
			default:
				w.others = append(w.others, group{pc: st.target, mask: m})
				w.mask &^= m
				w.pc++
			}
		case stepExit:
			w.live &^= m
			w.mask &^= m
			w.pc++
			if w.live == 0 {
				w.finish()
				return
			}
		case stepWait:
			if m == 0 {
				w.pc++
				break
			}
			if !st.wait(w, m) {
				if w.setAside() {
					continue
				}
				return
			}
			w.why = nil
			for _, r := range st.pwrites {
				w.pinit[r] |= m
			}
			w.pc++
		case stepSync:
			if m == 0 {
				w.pc++
				break
			}
			if m != w.live {
				w.l.report(w, PartialMask, bits.TrailingZeros32(w.live&^m), "threads of the warp are elsewhere")
				panic(abort{})
			}
			if !st.sync(w, m) {
				return
			}
		}
		if len(w.others) > 0 {
			w.regroup()
		}
		if w.yield {
			w.yield = false
			return
		}
	}
}
