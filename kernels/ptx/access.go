package ptx

import (
	"bytes"
	"fmt"
)

type access uint8

const (
	accessRead access = iota
	accessWrite
	accessAtomic
)

// aligned checks that an access of n bytes is naturally aligned.
func (w *warp) aligned(addr uint64, n, lane int) {
	if addr&uint64(n-1) != 0 {
		w.l.report(w, Misaligned, lane, fmt.Sprintf("address %#x for an access of %d bytes", addr, n))
		panic(abort{})
	}
}

// memory resolves one lane's access, checks and records it, and returns the bytes. Generic addresses are
// recognised by their window. A mistake that would fault on a device ends the launch.
func (w *warp) memory(space string, addr uint64, n, lane int, how access) []byte {
	w.aligned(addr, n, lane)
	return w.access(space, addr, n, lane, how)
}

func (w *warp) access(space string, addr uint64, n, lane int, how access) []byte {
	switch {
	case space == "shared":
		return w.sharedBytes(addr, n, lane, how)
	case space == "local":
		return w.localBytes(addr, n, lane, how)
	case space == "" && addr >= sharedWindow && addr < sharedWindow+windowSize:
		return w.sharedBytes(addr-sharedWindow, n, lane, how)
	case space == "" && addr >= localWindow && addr < localWindow+windowSize:
		return w.localBytes(addr-localWindow, n, lane, how)
	case space == "" && addr >= paramWindow && addr < paramWindow+windowSize:
		return w.paramBytes(addr-paramWindow, n, lane, how)
	}
	a := w.last
	if a == nil || addr < a.base || !fits(addr-a.base, n, len(a.data)) {
		a = w.l.m.heap.find(addr, n)
		w.last = a
	}
	if a == nil {
		w.l.report(w, OutOfBounds, lane, fmt.Sprintf("%d bytes at %#x of global memory, %s", n, addr, w.l.m.heap.describe(addr)))
		panic(abort{})
	}
	off := addr - a.base
	w.touchGlobal(a, off, n, lane, how)
	return a.data[off : off+uint64(n)]
}

func (w *warp) sharedBytes(addr uint64, n, lane int, how access) []byte {
	s := w.l.shared
	if !s.inBounds(addr, n) {
		w.l.report(w, OutOfBounds, lane, fmt.Sprintf("%d bytes at byte %d of %d bytes of shared memory", n, int64(addr)-sharedStart, len(s.data)))
		panic(abort{})
	}
	off := addr - sharedStart
	switch how {
	case accessRead:
		s.read(w, lane, off, n)
	case accessWrite:
		s.write(w, lane, off, n, false)
	case accessAtomic:
		for i := off; i < off+uint64(n); i++ {
			if s.init[i] == 0 {
				w.l.report(w, Uninitialised, lane, fmt.Sprintf("byte %d of shared memory was never written", i))
				break
			}
		}
	}
	return s.data[off : off+uint64(n)]
}

// paramBytes resolves a generic address in the parameter space, which can only be read.
func (w *warp) paramBytes(addr uint64, n, lane int, how access) []byte {
	addr -= w.p.k.ParamStart
	if how != accessRead || !fits(addr, n, len(w.l.params)) {
		w.l.report(w, OutOfBounds, lane, fmt.Sprintf("%d bytes at byte %d of %d bytes of parameters, which can only be read", n, addr, len(w.l.params)))
		panic(abort{})
	}
	return w.l.params[addr : addr+uint64(n)]
}

func (w *warp) localBytes(addr uint64, n, lane int, how access) []byte {
	size := uint64(w.p.k.LocalLen)
	if !fits(addr, n, int(size)) {
		w.l.report(w, OutOfBounds, lane, fmt.Sprintf("%d bytes at byte %d of %d bytes of local memory", n, addr, size))
		panic(abort{})
	}
	off := uint64(lane)*size + addr
	for i := off; i < off+uint64(n); i++ {
		if how == accessWrite {
			w.linit[i] = 1
		} else if w.linit[i] == 0 {
			w.l.report(w, Uninitialised, lane, fmt.Sprintf("byte %d of local memory was never written", i-uint64(lane)*size))
			break
		}
	}
	return w.local[off : off+uint64(n)]
}

// touchGlobal checks one access to global memory against those of other warps and blocks of this launch. Blocks
// have no order, warps of one block are ordered by barriers; atomics race only with plain accesses.
func (w *warp) touchGlobal(a *allocation, off uint64, n, lane int, how access) {
	init := a.init[off : off+uint64(n)]
	if how != accessWrite {
		if bytes.IndexByte(init, 0) >= 0 {
			w.l.report(w, Uninitialised, lane, fmt.Sprintf("byte %d of an allocation of %d bytes was never written", off+uint64(bytes.IndexByte(init, 0)), len(a.data)))
		}
	} else {
		for i := range init {
			init[i] = 1
		}
	}
	w.touched |= 1 << lane
	words := a.shadow()
	l := w.l
	for i := off / 2; i < (off+uint64(n)+1)/2; i++ {
		x := &words[i]
		if x.launch != l.m.launches {
			*x = gword{launch: l.m.launches, wcta: -1, rcta: -1}
		}
		if x.wcta >= 0 && !(how == accessAtomic && x.atomic) {
			clash := x.wcta != l.ctaIndex || int(x.wwarp) != w.id && x.wtime >= w.seen[x.wwarp] && x.wtime >= w.saw(int(x.wwarp), lane)
			if clash {
				l.report(w, Race, lane, fmt.Sprintf("byte %d of an allocation of %d bytes was written by block %d warp %d in the same launch with no barrier since", 2*i, len(a.data), x.wcta, x.wwarp))
			}
		}
		if how != accessWrite && x.rcta == -1 {
			l.counters.Read += 2
		}
		if how != accessRead && x.wcta < 0 {
			l.counters.Written += 2
		}
		if how == accessRead {
			switch {
			case x.rcta == l.ctaIndex:
			case x.rcta == -1:
				x.rcta, x.readers = l.ctaIndex, 0
			default:
				x.rcta = -2
			}
			x.readers |= 1 << w.id
			x.rtime = l.m.time
			continue
		}
		if x.rcta != -1 {
			clash := x.rcta == -2 || x.rcta != l.ctaIndex
			if !clash {
				for v := range l.warps {
					if v != w.id && x.readers>>v&1 != 0 && x.rtime >= w.seen[v] && x.rtime >= w.saw(v, lane) {
						clash = true
					}
				}
			}
			if clash {
				l.report(w, Race, lane, fmt.Sprintf("byte %d of an allocation of %d bytes was read by another warp or block in the same launch with no barrier since", 2*i, len(a.data)))
			}
		}
		x.wcta, x.wwarp, x.wtime, x.atomic = l.ctaIndex, uint8(w.id), l.m.time, how == accessAtomic
	}
}
