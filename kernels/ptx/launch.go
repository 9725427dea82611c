package ptx

import (
	"fmt"
	"math/bits"

	"github.com/dino-mx/dmx/tensor"
)

const fullMask = 0xffffffff

type lanes = [32]uint64

// launch is one running grid. Blocks run one after the other in random order; inside a block a random warp runs
// until it blocks, ends, or has used up a random quantum.
type launch struct {
	m           *Machine
	p           *program
	grid, block [3]int
	params      []byte
	counters    *Counters
	budget      int64
	rand        *tensor.Rand
	shared      *shared
	findings    Findings
	seen        map[findingKey]bool

	// the running block
	cta      [3]int
	ctaIndex int32
	warps    []*warp
	barriers [16]barrier
	cluster  clusterBarrier

	mbarriers  map[uint64]*mbarrier // by offset in shared memory
	bulk       []*bulkCopy          // on their way
	reads      []asyncRead          // reads of shared memory by asynchronous operations; the first is unused
	warpgroups []*warpgroup
	pool       int    // registers that no warp owns (setmaxnreg)
	idle       int    // waits that gave up since anything moved
	at         *Instr // the instruction to blame for what happens asynchronously
}

type findingKey struct {
	kind  Kind
	instr int
}

// barrier is one named barrier of the running block.
type barrier struct {
	want    int // threads expected, 0 for all that live
	arrived int
	waiting []*warp
	clock   clock // what had happened before each warp arrived
}

// abort unwinds the interpreter after a mistake that cannot be stepped over.
type abort struct{}

func (l *launch) run() (err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(abort); !ok {
				panic(r)
			}
			err = l.findings
		}
	}()
	n := l.grid[0] * l.grid[1] * l.grid[2]
	for _, i := range l.rand.Perm(n) {
		l.runBlock(i)
	}
	if len(l.findings) > 0 {
		return l.findings
	}
	return nil
}

func (l *launch) runBlock(index int) {
	l.cta = [3]int{index % l.grid[0], index / l.grid[0] % l.grid[1], index / l.grid[0] / l.grid[1]}
	l.ctaIndex = int32(index)
	threads := l.block[0] * l.block[1] * l.block[2]
	nw := (threads + 31) / 32
	for len(l.warps) < nw {
		l.warps = append(l.warps, newWarp(l, len(l.warps), nw))
	}
	l.barriers = [16]barrier{}
	l.shared.reset()
	l.resetAsync(nw)
	l.m.time++
	for i, w := range l.warps {
		w.start(min(threads-32*i, 32))
	}
	running := append(make([]*warp, 0, nw), l.warps...)
	for len(running) > 0 {
		i := l.rand.Intn(len(running))
		w := running[i]
		if len(l.bulk) > 0 && l.rand.Intn(2) == 0 {
			l.advanceBulk()
		}
		if w.blocked != nil && w.blocked() {
			w.blocked = nil
		}
		if w.blocked == nil {
			w.run(32 + l.rand.Intn(512))
		}
		switch {
		case w.live == 0:
			running = append(running[:i], running[i+1:]...)
			l.exited()
		case w.blocked != nil && !l.anyRunnable(running):
			if len(l.bulk) == 0 {
				l.deadlock(running)
			}
			l.advanceBulk()
		case l.idle > maxIdle:
			l.deadlock(running)
		}
	}
	l.endAsync()
}

// maxIdle is how many waits in a row may give up, with nothing else happening, before that is taken for a deadlock.
const maxIdle = 1 << 20

func (l *launch) anyRunnable(ws []*warp) bool {
	for _, w := range ws {
		if w.blocked == nil {
			return true
		}
		if w.blocked() {
			w.blocked = nil
			return true
		}
	}
	return false
}

func (l *launch) deadlock(ws []*warp) {
	where := ""
	for _, w := range ws {
		in := w.p.steps[w.pc].in
		where += fmt.Sprintf("; warp %d waits at line %d (%s)", w.id, in.Line, in.Text)
		if w.why != nil {
			where += " for " + w.why()
		}
	}
	l.report(ws[0], Deadlock, -1, "no warp can go on"+where)
	panic(abort{})
}

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

// blamed is the instruction that a finding now would name.
func (l *launch) blamed(w *warp) *Instr {
	if l.at != nil {
		return l.at
	}
	return w.p.steps[w.pc].in
}

// reported tells whether the running instruction already has a finding of the kind, so that no other will be kept.
// Checks of every word ask before they put a finding in words.
func (l *launch) reported(w *warp, kind Kind) bool {
	return len(l.findings) > 0 && l.seen[findingKey{kind, l.blamed(w).index}]
}

func (l *launch) report(w *warp, kind Kind, lane int, detail string) {
	in := l.blamed(w)
	key := findingKey{kind, in.index}
	if l.seen[key] {
		return
	}
	l.seen[key] = true
	l.findings = append(l.findings, Finding{Kind: kind, Kernel: l.p.k.Name, Line: in.Line, Instr: in.Text, CTA: l.cta, Warp: w.id, Lane: lane, Detail: detail})
}

// warp is 32 threads with their registers. While its threads have parted ways it holds several groups and
// always runs the one with the smallest program counter, so that they meet again.
type warp struct {
	l    *launch
	p    *program
	id   int
	live uint32 // lanes that have not exited

	pc     int
	mask   uint32 // lanes of the running group
	others []group

	regs  []lanes
	init  []uint32 // lanes of each register that hold a value
	preds []uint32
	pinit []uint32
	local []byte // 32 consecutive thread areas
	linit []byte

	clock                    // actions of another agent before this time happened before ours
	partial   []partialClock // what only some lanes have observed
	lanesSeen uint32         // actions of our own lanes before this time are ordered for all our lanes
	touched   uint32         // lanes that accessed memory since then
	wrote     uint32         // lanes that wrote shared memory since then
	blocked   func() bool    // whether the warp may go on; nil if it may
	until     func() bool    // what an instruction that has to wait waits for
	why       func() string  // the same in words
	yield     bool           // let others run
	async     asyncCopies
	bulk      [32]bulkGroups
	mma       matrixState

	clusterArrived bool // at the cluster barrier, without having waited
	clusterPhase   int  // and in which phase

	registers []int       // what setmaxnreg asked for, one value after the other
	last      *allocation // where the last global access went
}

type group struct {
	pc     int
	mask   uint32
	parked bool        // waits at an instruction of the whole warp for the other groups
	until  func() bool // waits for something else
}

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

// report2 is for mistakes without an instruction to blame.
func (l *launch) report2(w *warp, detail string) {
	w.pc = len(w.p.steps) - 1
	l.report(w, BadOperand, -1, detail)
	panic(abort{})
}

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
