package ptx

import "fmt"

// read checks one lane's read of n bytes at off (from the start of data) and records it.
func (s *shared) read(w *warp, lane int, off uint64, n int) {
	for i := off; i < off+uint64(n); i++ {
		if s.init[i] == 0 {
			w.l.report(w, Uninitialised, lane, fmt.Sprintf("byte %d of shared memory was never written", i))
			break
		}
	}
	w.touched |= 1 << lane
	for i := off / 2; i < (off+uint64(n)+1)/2; i++ {
		x := &s.words[i]
		if x.async != -1 {
			s.reportAsync(w, lane, i, "read")
		} else if x.wwarp >= 0 && !ordered(w, int(x.wwarp), int(x.wlane), lane, x.wtime) {
			s.reportUnordered(w, lane, i)
		}
		x.readers |= 1 << w.id
		s.rtime[int(i)*s.nw+w.id] = w.l.m.time
	}
}

// ordered reports whether an access of another thread at time t happened before what this lane does now: by the warp's
// own synchronisation, or by a barrier that both took part in.
func ordered(w *warp, warp, lane, me int, t uint32) bool {
	if warp == w.id && (lane == me || t < w.lanesSeen) {
		return true
	}
	return t < w.seen[warp] || len(w.partial) > 0 && t < w.saw(warp, me)
}

// reportAsync is for an access to word i, which an asynchronous copy is still writing or which is part of an mbarrier.
func (s *shared) reportAsync(w *warp, lane int, i uint64, how string) {
	x := &s.words[i]
	switch {
	case w.l.reported(w, AsyncRace) && x.async != wordMbarrier:
	case x.async == wordMbarrier:
		w.l.report(w, BadMbarrier, lane, fmt.Sprintf("byte %d of shared memory, which is part of an mbarrier, is %s by a plain access", 2*i, how))
	case int(x.async) >= s.nw:
		w.l.report(w, AsyncRace, lane, fmt.Sprintf("byte %d of shared memory is %s before the bulk copy to it has completed (%s)", 2*i, how, w.l.agentName(int(x.async))))
	default:
		w.l.report(w, AsyncRace, lane, fmt.Sprintf("byte %d of shared memory is %s before warp %d waited for its copy", 2*i, how, x.async))
	}
}

// reportUnordered is for an access to word i that is not ordered after the last write.
func (s *shared) reportUnordered(w *warp, lane int, i uint64) {
	x := &s.words[i]
	if int(x.wwarp) >= s.nw {
		if w.l.reported(w, AsyncRace) {
			return
		}
		w.l.report(w, AsyncRace, lane, fmt.Sprintf("byte %d of shared memory was written by an asynchronous copy that this thread has not waited for (%s)", 2*i, w.l.agentName(int(x.wwarp))))
		return
	}
	if w.l.reported(w, Race) {
		return
	}
	w.l.report(w, Race, lane, fmt.Sprintf("byte %d of shared memory was written by warp %d lane %d with no barrier since", 2*i, x.wwarp, x.wlane))
}

// write checks one lane's write of n bytes at off and records it. async marks the target of a copy that is
// issued now and lands later.
func (s *shared) write(w *warp, lane int, off uint64, n int, async bool) {
	w.touched |= 1 << lane
	w.wrote |= 1 << lane
	if s.inUse != nil {
		s.checkInUse(w, lane, off, n)
	}
	for i := off / 2; i < (off+uint64(n)+1)/2; i++ {
		s.checkWrite(w, lane, i)
		x := &s.words[i]
		*x = sword{wtime: w.l.m.time, wwarp: int8(w.id), wlane: int8(lane), async: -1}
		if async {
			x.async = int8(w.id)
		}
	}
	if !async {
		for i := off; i < off+uint64(n); i++ {
			s.init[i] = 1
		}
	}
}

// checkWrite checks a write to word i against what was there.
func (s *shared) checkWrite(w *warp, lane int, i uint64) {
	x := &s.words[i]
	if x.async != -1 {
		s.reportAsync(w, lane, i, "written")
	}
	if x.wwarp >= 0 && !ordered(w, int(x.wwarp), int(x.wlane), lane, x.wtime) {
		s.reportUnordered(w, lane, i)
	}
	if x.readers&^(1<<w.id) != 0 {
		for v := range s.nw {
			if t := s.rtime[int(i)*s.nw+v]; v != w.id && x.readers>>v&1 != 0 && t >= w.seen[v] && t >= w.saw(v, lane) {
				w.l.report(w, Race, lane, fmt.Sprintf("byte %d of shared memory was read by warp %d with no barrier since", 2*i, v))
				break
			}
		}
	}
}

// landed ends an asynchronous copy of one lane.
func (s *shared) landed(w *warp, lane int, off uint64, n int) {
	for i := off / 2; i < (off+uint64(n)+1)/2; i++ {
		s.words[i] = sword{wtime: w.l.m.time, wwarp: int8(w.id), wlane: int8(lane), async: -1}
	}
	for i := off; i < off+uint64(n); i++ {
		s.init[i] = 1
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

// agentName describes an agent that is an mbarrier.
func (l *launch) agentName(agent int) string {
	for _, b := range l.mbarriers {
		if b.agent == agent {
			return b.String()
		}
	}
	return "an mbarrier that is gone"
}
