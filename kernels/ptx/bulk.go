package ptx

import (
	"fmt"
)

// resetAsync prepares the asynchronous machinery for a block.
func (l *launch) resetAsync(nw int) {
	if l.mbarriers == nil {
		l.mbarriers = map[uint64]*mbarrier{}
	}
	clear(l.mbarriers)
	clear(l.bulk)
	l.bulk, l.reads, l.idle, l.pool = l.bulk[:0], l.reads[:0], 0, 0
	l.cluster.reset()
	l.warpgroups = l.warpgroups[:0]
	for range (nw + 3) / 4 {
		l.warpgroups = append(l.warpgroups, &warpgroup{})
	}
	for _, w := range l.warps {
		clear(w.bulk[:])
	}
}

// advanceBulk moves a random part of a random copy that is on its way.
func (l *launch) advanceBulk() {
	l.idle = 0
	i := l.rand.Intn(len(l.bulk))
	b := l.bulk[i]
	switch {
	case b.load():
		l.landPieces(b, 1+l.rand.Intn(len(b.pieces)))
	case b.bar != nil:
		l.landArrival(b)
	case b.data == nil:
		b.readShared()
	default:
		l.writeGlobal(b)
	}
	if b.moved == len(b.pieces) {
		l.bulk[i] = l.bulk[len(l.bulk)-1]
		l.bulk = l.bulk[:len(l.bulk)-1]
	}
}

// landPieces writes the next n pieces of a load and reports them to its mbarrier.
func (l *launch) landPieces(b *bulkCopy, n int) {
	n = min(n, len(b.pieces)-b.moved)
	s := l.shared
	l.m.time++
	for _, p := range b.pieces[b.moved : b.moved+n] {
		dst := s.data[p.off : p.off+16]
		clear(dst)
		if p.n > 0 {
			a := l.m.heap.find(p.src, int(p.n))
			copy(dst[p.skip:], a.data[p.src-a.base:][:p.n])
		}
		for i := p.off / 2; i < p.off/2+8; i++ {
			s.words[i] = sword{wtime: l.m.time, wwarp: int8(b.bar.agent), async: -1}
		}
		for i := p.off; i < p.off+16; i++ {
			s.init[i] = 1
		}
	}
	b.moved += n
	l.m.time++
	b.bar.arrived.seen[b.bar.agent] = l.m.time
	b.bar.arrived.proxy[b.bar.agent] = l.m.time
	l.at = b.in
	b.w.expectTx(b.bar, b.lane, -16*n)
	l.at = nil
}

// readShared takes the bytes of a store.
func (b *bulkCopy) readShared() {
	b.data = make([]byte, 0, 16*len(b.pieces))
	for _, p := range b.pieces {
		b.data = append(b.data, b.w.l.shared.data[p.off:p.off+16]...)
	}
}

// writeGlobal ends a store.
func (l *launch) writeGlobal(b *bulkCopy) {
	l.at = b.in
	for i, p := range b.pieces {
		if p.n > 0 {
			copy(b.w.access("global", p.src, int(p.n), b.lane, accessWrite), b.data[16*i+int(p.skip):][:p.n])
		}
	}
	l.at = nil
	b.moved = len(b.pieces)
}

// endAsync checks what is still on its way at the end of a block and lets stores finish.
func (l *launch) endAsync() {
	for _, b := range l.bulk {
		if b.load() {
			l.at = b.in
			l.report(b.w, AsyncRace, b.lane, "the block ends before the bulk copy into its shared memory has completed")
			l.at = nil
			continue
		}
		if b.bar != nil {
			continue
		}
		if b.data == nil {
			b.readShared()
		}
		l.writeGlobal(b)
	}
	l.bulk = l.bulk[:0]
	for _, w := range l.warps {
		l.checkRegisters(w)
	}
	for g, x := range l.warpgroups {
		x.check(l, g)
	}
}

// finish checks what a warp leaves on its way when its last thread ends.
func (w *warp) finish() {
	for lane := range w.bulk {
		g := &w.bulk[lane]
		for _, group := range append(g.groups, g.open) {
			for _, b := range group {
				if w.l.reads[b.read].ndone == 0 {
					w.l.at = b.in
					w.l.report(w, AsyncReuse, lane, "the thread ends with no wait for the bulk store, which reads shared memory of the block")
					w.l.at = nil
				}
			}
		}
	}
	w.finishMatrix()
}

// startLoad asks for a load: its target must be free for the async proxy to write.
func (w *warp) startLoad(lane int, pieces []piece, bar *mbarrier) {
	s := w.l.shared
	if !bar.published {
		w.l.report(w, MissingFence, lane, fmt.Sprintf("the %v was initialised with no fence.mbarrier_init or fence.proxy.async since: the copy engine may not see it", bar))
	}
	in := &w.l.counters.PerInstr[w.pc]
	for _, p := range pieces {
		if s.inUse != nil {
			s.checkInUse(w, lane, p.off, 16)
		}
		for i := p.off / 2; i < p.off/2+8; i++ {
			s.checkWrite(w, lane, i)
			s.checkProxy(w, lane, i)
			s.words[i] = sword{wtime: w.l.m.time, wwarp: int8(bar.agent), wlane: int8(lane), async: int8(bar.agent)}
		}
		if p.n > 0 {
			w.access("global", p.src, int(p.n), lane, accessRead)
		}
		in.Bytes += int64(p.n)
	}
	w.countBulk(pieces)
	w.l.bulk = append(w.l.bulk, &bulkCopy{in: w.p.steps[w.pc].in, w: w, lane: lane, pieces: pieces, bar: bar})
}

// startStore asks for a store: what it reads must be there for the async proxy.
func (w *warp) startStore(lane int, pieces []piece) {
	s := w.l.shared
	in := w.p.steps[w.pc].in
	id := w.l.newRead(in)
	for _, p := range pieces {
		s.readAsync(w, lane, p.off, 16)
		s.markInUse(s.slots-1, id, p.off, 16)
		w.l.counters.PerInstr[w.pc].Bytes += int64(p.n)
	}
	w.countBulk(pieces)
	b := &bulkCopy{in: in, w: w, lane: lane, pieces: pieces, read: id}
	w.l.bulk = append(w.l.bulk, b)
	w.bulk[lane].open = append(w.bulk[lane].open, b)
}

// countBulk adds the 32-byte sectors of global memory that the pieces touch; consecutive pieces share sectors.
func (w *warp) countBulk(pieces []piece) {
	in := &w.l.counters.PerInstr[w.pc]
	bytes, last := int64(0), ^uint64(0)
	for _, p := range pieces {
		if p.n == 0 {
			continue
		}
		bytes += int64(p.n)
		for s := p.src / 32; s <= (p.src+uint64(p.n)-1)/32; s++ {
			if s != last {
				in.Sectors++
				last = s
			}
		}
	}
	in.IdealSectors += (bytes + 31) / 32
}

// waitBulk lets the stores of all but the n youngest groups of a thread finish, or only their reads.
func (w *warp) waitBulk(lane, n int, onlyRead bool) {
	g := &w.bulk[lane]
	for i := 0; i < len(g.groups)-n; i++ {
		for _, b := range g.groups[i] {
			if b.data == nil {
				b.readShared()
			}
			w.readDone(b.read, lane)
			if !onlyRead && b.moved == 0 {
				w.l.writeGlobal(b)
			}
		}
	}
	if !onlyRead && len(g.groups) > n {
		g.groups = g.groups[len(g.groups)-n:]
		rest := w.l.bulk[:0]
		for _, b := range w.l.bulk {
			if b.moved < len(b.pieces) {
				rest = append(rest, b)
			}
		}
		w.l.bulk = rest
	}
}

// bulkPieces lists the pieces of one thread's copy between shared address shared and global address (or tensor map)
// global, and checks alignment and bounds.
func (w *warp) bulkPieces(lane, rank int, coords []source, size source, shared, global uint64) []piece {
	var pieces []piece
	if rank > 0 {
		w.aligned(shared, 128, lane)
		t := w.tensorMap(global, lane, rank)
		var at [5]int
		for i, s := range coords {
			at[i] = int(int32(s(w)[lane]))
		}
		pieces = t.boxPieces(at, shared)
	} else {
		n := int(uint32(size(w)[lane]))
		if n%16 != 0 || n == 0 {
			w.l.report(w, BadOperand, lane, fmt.Sprintf("size %d is not a positive multiple of 16", n))
			panic(abort{})
		}
		w.aligned(shared, 16, lane)
		w.aligned(global, 16, lane)
		if !w.l.shared.inBounds(shared, n) {
			w.outOfShared(lane, shared, n)
		}
		for i := 0; i < n; i += 16 {
			pieces = append(pieces, piece{off: shared + uint64(i) - sharedStart, src: global + uint64(i), n: 16})
		}
	}
	for _, p := range pieces {
		if !w.l.shared.inBounds(p.off+sharedStart, 16) {
			w.outOfShared(lane, shared, 16*len(pieces))
		}
	}
	return pieces
}

func (w *warp) outOfShared(lane int, shared uint64, n int) {
	w.l.report(w, OutOfBounds, lane, fmt.Sprintf("a bulk copy of %d bytes at byte %d of %d bytes of shared memory", n, int64(shared)-sharedStart, len(w.l.shared.data)))
	panic(abort{})
}
