package tensor

import (
	"fmt"
	"math"
)

// Arena is the memory of one training step. Tensors are cut from a few large slabs; Free gives one back
// early, Reset gives all back. After the first steps have shown how much is needed, a step allocates nothing:
// Reset joins the slabs into one of the peak size. An Arena belongs to one goroutine.
type Arena struct {
	// Poison fills float memory with NaN when it is given back, so that a use after free shows. Host only.
	Poison bool

	alloc Allocator
	slabs []*slab
	inUse int
	peak  int
}

type slab struct {
	buf   *Buffer
	first *block
}

// block is one stretch of a slab; neighbours are linked in address order so that free ones can be joined.
type block struct {
	slab       *slab
	off, size  int
	used       bool
	prev, next *block
}

const (
	arenaAlign   = 256
	arenaMinSlab = 1 << 20
)

// NewArena makes an empty arena on the allocator's device.
func NewArena(alloc Allocator) *Arena { return &Arena{alloc: alloc} }

// Device is where the arena's tensors lie.
func (a *Arena) Device() Device { return a.alloc.Device() }

// New cuts a tensor with undefined content. It panics with *OutOfMemory when the device has no more.
func (a *Arena) New(dtype DType, shape ...int) *Tensor {
	s := Shape(shape)
	n := s.Len()
	size := (max(n*dtype.Size(), 1) + arenaAlign - 1) &^ (arenaAlign - 1)
	b := a.bestFit(size)
	if b == nil {
		b = a.grow(size)
	}
	b.split(size)
	b.used = true
	a.inUse += b.size
	a.peak = max(a.peak, a.inUse)
	return &Tensor{buf: b.slab.buf, off: b.off, n: n, dtype: dtype, shape: append(Shape(nil), s...), block: b}
}

// Free gives a tensor's memory back before the step ends. The tensor and its views must not be used again.
// A tensor that did not come from an arena is left alone.
func (a *Arena) Free(t *Tensor) {
	if t == nil || t.block == nil {
		return
	}
	b := t.block
	if !b.used {
		panic(fmt.Sprintf("tensor: %s freed twice", t))
	}
	a.poison(b)
	b.used = false
	a.inUse -= b.size
	if n := b.next; n != nil && !n.used {
		b.join()
	}
	if p := b.prev; p != nil && !p.used {
		p.join()
	}
}

// Reset gives every tensor back.
func (a *Arena) Reset() {
	total := 0
	for _, s := range a.slabs {
		total += s.buf.Size
		if a.Poison {
			for b := s.first; b != nil; b = b.next {
				if b.used {
					a.poison(b)
				}
			}
		}
	}
	a.inUse = 0
	if len(a.slabs) == 1 {
		s := a.slabs[0]
		s.first = &block{slab: s, size: s.buf.Size}
		return
	}
	for _, s := range a.slabs {
		a.alloc.Free(s.buf)
	}
	a.slabs = nil
	if total > 0 {
		a.grow(total)
	}
}

// Reserve makes an arena that nothing is cut from hold at least so many bytes in one slab, for a user who knows
// more than the steps so far have shown. It does not count towards Peak.
func (a *Arena) Reserve(bytes int) {
	if a.inUse != 0 {
		panic(fmt.Sprintf("tensor: Reserve on an arena with %d bytes in use", a.inUse))
	}
	if a.Reserved() < bytes {
		a.Release()
		a.grow(bytes)
	}
}

// Release frees the slabs themselves.
func (a *Arena) Release() {
	for _, s := range a.slabs {
		a.alloc.Free(s.buf)
	}
	a.slabs, a.inUse = nil, 0
}

// InUse is the number of bytes cut and not freed; Peak its maximum since the arena was made; Reserved what
// the arena holds from its allocator.
func (a *Arena) InUse() int { return a.inUse }

// Peak is the largest InUse so far.
func (a *Arena) Peak() int { return a.peak }

// Reserved is the number of bytes held from the allocator.
func (a *Arena) Reserved() int {
	n := 0
	for _, s := range a.slabs {
		n += s.buf.Size
	}
	return n
}

func (a *Arena) bestFit(size int) *block {
	var best *block
	for _, s := range a.slabs {
		for b := s.first; b != nil; b = b.next {
			if !b.used && b.size >= size && (best == nil || b.size < best.size) {
				best = b
			}
		}
	}
	return best
}

func (a *Arena) grow(size int) *block {
	// Growing by a quarter of what is held keeps the number of slabs of the first step small without
	// reserving much more than the step needs.
	want := max(size, arenaMinSlab, a.Reserved()/4)
	want = (want + arenaAlign - 1) &^ (arenaAlign - 1)
	buf, err := a.alloc.Alloc(want)
	if err != nil && want > size {
		want = size
		buf, err = a.alloc.Alloc(want)
	}
	if err != nil {
		e := AllocationFailed(a.alloc.Device(), size, err)
		e.InUse = max(e.InUse, a.inUse)
		panic(e)
	}
	s := &slab{buf: buf}
	s.first = &block{slab: s, size: want}
	a.slabs = append(a.slabs, s)
	return s.first
}

func (b *block) split(size int) {
	if b.size == size {
		return
	}
	rest := &block{slab: b.slab, off: b.off + size, size: b.size - size, prev: b, next: b.next}
	if b.next != nil {
		b.next.prev = rest
	}
	b.next = rest
	b.size = size
}

// join merges b with the free block behind it.
func (b *block) join() {
	n := b.next
	b.size += n.size
	b.next = n.next
	if n.next != nil {
		n.next.prev = b
	}
}

func (a *Arena) poison(b *block) {
	if !a.Poison || b.slab.buf.Host == nil {
		return
	}
	t := Over(b.slab.buf, b.off, F32, b.size/4)
	nan := float32(math.NaN())
	for i, v := 0, t.F32(); i < len(v); i++ {
		v[i] = nan
	}
}
