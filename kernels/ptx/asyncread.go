package ptx

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// newRead enters an operation and returns its number.
func (l *launch) newRead(in *syntax.Instr) int32 {
	if len(l.reads) == 0 {
		l.reads = append(l.reads, asyncRead{})
	}
	l.reads = append(l.reads, asyncRead{in: in})
	return int32(len(l.reads) - 1)
}

// readDone notes that a warp (or one lane of it) has waited for operation id.
func (w *warp) readDone(id int32, lane int) {
	r := &w.l.reads[id]
	if r.ndone < len(r.done) {
		w.l.m.time++
		r.done[r.ndone] = readDone{w.id, lane, w.l.m.time}
		r.ndone++
	}
}

// markInUse enters operation id as the latest reader of n bytes at off in the given slot.
func (s *shared) markInUse(slot int, id int32, off uint64, n int) {
	for c := off / 16; c < (off+uint64(n)+15)/16; c++ {
		s.inUse[int(c)*s.slots+slot] = id
	}
}

// readAsync checks that an asynchronous operation asked for by a lane (-1: the whole warp) may read n bytes of shared
// memory at off: written, complete, ordered, and visible to the async proxy.
func (s *shared) readAsync(w *warp, lane int, off uint64, n int) {
	for i := off; i < off+uint64(n); i++ {
		if s.init[i] == 0 && s.words[i/2].async < 0 && !w.l.reported(w, Uninitialised) {
			w.l.report(w, Uninitialised, lane, fmt.Sprintf("byte %d of shared memory was never written", i))
			break
		}
	}
	last := sword{wwarp: -1, async: -1}
	for i := off / 2; i < (off+uint64(n)+1)/2; i++ {
		x := &s.words[i]
		if x.wtime == last.wtime && x.wwarp == last.wwarp && x.wlane == last.wlane && x.async == last.async {
			continue
		}
		last = *x
		switch {
		case x.async != -1:
			s.reportAsync(w, lane, i, "read")
		case x.wwarp < 0:
		case !ordered(w, int(x.wwarp), int(x.wlane), lane, x.wtime):
			s.reportUnordered(w, lane, i)
		default:
			s.checkProxy(w, lane, i)
		}
	}
}

// checkProxy checks that a plain write of word i, which is ordered, is visible to the async proxy.
func (s *shared) checkProxy(w *warp, lane int, i uint64) {
	x := &s.words[i]
	if x.wwarp >= 0 && int(x.wwarp) < s.nw && x.wtime >= w.sawProxy(int(x.wwarp), lane) && !w.l.reported(w, MissingFence) {
		w.l.report(w, MissingFence, lane, fmt.Sprintf("byte %d of shared memory was written by warp %d lane %d with no fence.proxy.async since", 2*i, x.wwarp, x.wlane))
	}
}
