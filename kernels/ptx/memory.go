package ptx

import (
	"fmt"
	"sort"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// The generic address windows. Shared memory starts above zero so that a null shared pointer is out of bounds.
const (
	sharedStart  = 1024
	sharedWindow = 0x0100_0000_0000
	localWindow  = 0x0200_0000_0000
	paramWindow  = 0x0300_0000_0000
	globalStart  = 0x7000_0000_0000
	windowSize   = 0x0100_0000_0000
	redZone      = 4096 // unmapped bytes between two allocations
)

// allocation is one block of device memory with its shadow.
type allocation struct {
	base  uint64
	data  []byte
	init  []byte  // 1 for every byte that was written
	words []gword // access history of each pair of bytes, made at the first access by a kernel
}

// gword says who touched two bytes of global memory last, within one launch. Two bytes is the smallest element
// that different threads write side by side.
type gword struct {
	launch       uint32
	wcta, rcta   int32 // -1: none; readers of several blocks: -2
	wtime, rtime uint32
	wwarp        uint8
	atomic       bool
	readers      uint32 // warps of block rcta that read the word
}

// heap is the device memory: allocations in address order with unmapped gaps between them.
type heap struct {
	allocs []*allocation
	next   uint64
	used   int
	limit  int
}

func (h *heap) alloc(n int) (uint64, error) {
	if n < 0 || h.used+n > h.limit {
		return 0, fmt.Errorf("ptx: %w: asked for %d bytes with %d of %d in use", gpu.ErrOutOfMemory, n, h.used, h.limit)
	}
	if h.next == 0 {
		h.next = globalStart
	}
	a := &allocation{base: h.next, data: make([]byte, n), init: make([]byte, n)}
	h.next += uint64((n+255)&^255) + redZone
	h.used += n
	h.allocs = append(h.allocs, a)
	return a.base, nil
}

func (h *heap) free(addr uint64) error {
	i := h.index(addr)
	if i < 0 || h.allocs[i].base != addr {
		return fmt.Errorf("ptx: free of %#x, which is not an allocation", addr)
	}
	h.used -= len(h.allocs[i].data)
	h.allocs = append(h.allocs[:i], h.allocs[i+1:]...)
	return nil
}

// index is the last allocation that begins at or before addr, -1 if there is none.
func (h *heap) index(addr uint64) int {
	return sort.Search(len(h.allocs), func(i int) bool { return h.allocs[i].base > addr }) - 1
}

// find is the allocation that holds n bytes at addr, nil if there is none.
func (h *heap) find(addr uint64, n int) *allocation {
	i := h.index(addr)
	if i < 0 {
		return nil
	}
	a := h.allocs[i]
	if !fits(addr-a.base, n, len(a.data)) {
		return nil
	}
	return a
}

// describe says where addr lies, for a message.
func (h *heap) describe(addr uint64) string {
	i := h.index(addr)
	if i < 0 {
		return "below every allocation"
	}
	a := h.allocs[i]
	return fmt.Sprintf("byte %d of an allocation of %d bytes", addr-a.base, len(a.data))
}

func (a *allocation) shadow() []gword {
	if a.words == nil {
		a.words = make([]gword, (len(a.data)+1)/2)
	}
	return a.words
}

// copyIn and copyOut are the host's accesses.
func (h *heap) copyIn(addr uint64, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	a := h.find(addr, len(b))
	if a == nil {
		return fmt.Errorf("ptx: copy of %d bytes to %#x is out of bounds (%s)", len(b), addr, h.describe(addr))
	}
	off := addr - a.base
	copy(a.data[off:], b)
	for i := range b {
		a.init[off+uint64(i)] = 1
	}
	return nil
}

func (h *heap) copyOut(b []byte, addr uint64) error {
	if len(b) == 0 {
		return nil
	}
	a := h.find(addr, len(b))
	if a == nil {
		return fmt.Errorf("ptx: copy of %d bytes from %#x is out of bounds (%s)", len(b), addr, h.describe(addr))
	}
	copy(b, a.data[addr-a.base:])
	return nil
}

// fits reports whether n bytes at off lie within size bytes, for any off.
func fits(off uint64, n, size int) bool { return n <= size && off <= uint64(size-n) }
