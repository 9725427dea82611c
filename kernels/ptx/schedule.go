package ptx

import "fmt"

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
