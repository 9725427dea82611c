package ptx

import "github.com/dino-mx/dmx/kernels/ptx/syntax"

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

func newShared(k *syntax.Kernel, tracked bool, dynamic, nw int) *shared {
	align := 1
	if d := k.Extern; d != nil {
		align = max(align, d.Align)
	}
	start := (k.SharedLen + align - 1) &^ (align - 1)
	n := start + dynamic
	s := &shared{data: make([]byte, n), init: make([]byte, n), nw: nw, words: make([]sword, (n+1)/2), rtime: make([]uint32, (n+1)/2*nw)}
	if tracked {
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
