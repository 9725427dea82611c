package ptx

import "fmt"

// shared is the shared memory of the running block with its access history, in units of two bytes: the smallest
// element that our kernels keep there, so that neighbouring bf16 of different warps do not look like a race.
type shared struct {
	data  []byte
	init  []byte
	nw    int
	words []sword
	rtime []uint32 // per word and warp: the last read
	// Per 16 bytes and slot, the latest asynchronous operation that reads them (index in launch.reads, 0 for none):
	// a slot for the matrix products of each warpgroup and one for bulk stores. Nil in kernels without such.
	inUse []int32
	slots int
}

type sword struct {
	wtime   uint32
	wwarp   int8 // the agent that wrote it: a warp, or past those an mbarrier; -1: never written
	wlane   int8
	async   int8 // >= 0: an asynchronous copy of this agent is on its way here; wordMbarrier: part of an mbarrier
	readers uint32
}

const wordMbarrier = -2

func newShared(p *program, dynamic, nw int) *shared {
	align := 1
	if d := p.k.dynamic; d != nil {
		align = max(align, d.Align)
	}
	start := (p.k.SharedLen + align - 1) &^ (align - 1)
	n := start + dynamic
	s := &shared{data: make([]byte, n), init: make([]byte, n), nw: nw, words: make([]sword, (n+1)/2), rtime: make([]uint32, (n+1)/2*nw)}
	if p.tracked {
		s.slots = (nw+3)/4 + 1
		s.inUse = make([]int32, (n+15)/16*s.slots)
	}
	return s
}

// reset forgets the content. Times only grow, so the read history needs no clearing.
func (s *shared) reset() {
	clear(s.init)
	clear(s.inUse)
	for i := range s.words {
		s.words[i] = sword{wwarp: -1, async: -1}
	}
}

// inBounds checks a shared address (an offset from sharedStart).
func (s *shared) inBounds(addr uint64, n int) bool {
	return addr >= sharedStart && fits(addr-sharedStart, n, len(s.data))
}

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

// wavefronts is the number of bank cycles of one shared memory request: 32 banks of four bytes; requests of 8
// and 16 bytes a lane are served by half and quarter warps. ideal is the least possible.
func wavefronts(addrs *lanes, m uint32, size int) (used, ideal int64) {
	per := 32
	switch size {
	case 8:
		per = 16
	case 16:
		per = 8
	}
	for lo := 0; lo < 32; lo += per {
		u := bankCycles(addrs, m>>lo&uint32(uint64(1)<<per-1)<<lo, size)
		if u > 0 {
			used += u
			ideal++
		}
	}
	return used, ideal
}

// bankCycles counts, for the lanes of one phase, the largest number of different words in one bank.
func bankCycles(addrs *lanes, m uint32, size int) int64 {
	var count [32]int8
	var words [128]uint64
	n := 0
	worst := int8(0)
	for l := 0; l < 32; l++ {
		if m>>l&1 == 0 {
			continue
		}
	next:
		for a := addrs[l] / 4; a <= (addrs[l]+uint64(size)-1)/4; a++ {
			for _, o := range words[:n] {
				if o == a {
					continue next
				}
			}
			words[n] = a
			n++
			b := a % 32
			count[b]++
			worst = max(worst, count[b])
		}
	}
	return int64(worst)
}
