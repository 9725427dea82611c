package ptx

import "fmt"

// asyncRead is one asynchronous operation that reads shared memory: a matrix product or a bulk store. Memory that it
// reads may be written again only by who knows that it has finished: who waited for it, or is ordered after that.
type asyncRead struct {
	in    *Instr
	done  [4]readDone // who waited for it
	ndone int
}

type readDone struct {
	warp, lane int // lane -1: the whole warp
	time       uint32
}

// newRead enters an operation and returns its number.
func (l *launch) newRead(in *Instr) int32 {
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

// checkInUse checks a write of n bytes at off against the asynchronous operations that read there.
func (s *shared) checkInUse(w *warp, lane int, off uint64, n int) {
	for c := off / 16; c < (off+uint64(n)+15)/16; c++ {
		for slot := range s.slots {
			at := &s.inUse[int(c)*s.slots+slot]
			if *at == 0 {
				continue
			}
			r := &w.l.reads[*at]
			*at = 0
			if w.l.reported(w, AsyncReuse) {
				continue
			}
			if r.ndone == 0 {
				w.l.report(w, AsyncReuse, lane, fmt.Sprintf("byte %d of shared memory is still read by line %d (%s), which nobody has waited for", 16*c, r.in.Line, r.in.Text))
			} else if !r.ordered(w, lane) {
				w.l.report(w, AsyncReuse, lane, fmt.Sprintf("byte %d of shared memory was read by line %d (%s), for which warp %d waited, with no barrier since", 16*c, r.in.Line, r.in.Text, r.done[0].warp))
			}
		}
	}
}

// ordered reports whether a lane's next action is ordered after the end of the operation.
func (r *asyncRead) ordered(w *warp, lane int) bool {
	for _, d := range r.done[:r.ndone] {
		if d.warp == w.id {
			if d.lane < 0 || d.lane == lane || d.time < w.lanesSeen {
				return true
			}
		} else if d.time < w.saw(d.warp, lane) {
			return true
		}
	}
	return false
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
