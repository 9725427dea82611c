package tensor

import (
	"fmt"
	"math"
	"math/bits"
)

// Arena holds the activations of one training step. Tensors are allocated from a few large slabs: Free frees one
// tensor early and Reset frees all. The first step shows how much memory a step needs. Reset then replaces the slabs
// by one slab in which the same step fits, and later steps allocate nothing from the device. An Arena belongs to one
// goroutine.
type Arena struct {
	// Poison fills host memory with NaN when it is freed, so that a use after free shows.
	Poison bool
	// Coarse rounds sizes up by at most 1/32, so that a tensor whose size varies a little from step to step does not
	// move the tensors behind it. A recorded step can then be replayed with few changes.
	Coarse bool

	alloc Allocator
	slabs []*slab
	inUse int
	peak  int

	// shadow replays the allocations in one unbounded slab while the arena has several slabs. extent is its high-water
	// mark, the size that one slab would need.
	shadow *slab
	extent int
	needed int // the extent of the last step that was measured
	// outgrown counts the steps that needed more than the slab held. Each makes the next slab 1/32 larger than
	// measured.
	outgrown int
}

type slab struct {
	buf   *Buffer
	first *block
}

// block is a contiguous part of a slab. Blocks are linked in address order, so that free neighbours can be merged.
type block struct {
	slab       *slab
	off, size  int
	used       bool
	prev, next *block
	shadow     *block // the same allocation in the shadow slab, or nil
}

const (
	arenaAlign   = 256
	arenaMinSlab = 1 << 20
	arenaEndless = math.MaxInt &^ (arenaAlign - 1)
)

// NewArena makes an empty arena on the allocator's device.
func NewArena(alloc Allocator) *Arena {
	a := &Arena{alloc: alloc}
	a.measure()
	return a
}

// measure starts a new shadow slab.
func (a *Arena) measure() {
	a.shadow, a.extent = &slab{}, 0
	a.shadow.first = &block{slab: a.shadow, size: arenaEndless}
}

// Device returns the device of the arena's tensors.
func (a *Arena) Device() Device { return a.alloc.Device() }

// New allocates a tensor with undefined content. It panics with *OutOfMemory when the device has no memory left.
func (a *Arena) New(dtype DType, shape ...int) *Tensor {
	s := Shape(shape)
	n := s.Len()
	size := a.rounded(max(n*dtype.Size(), 1))
	b := bestFit(a.slabs, size)
	if b == nil {
		b = a.grow(size)
	}
	b.allocate(size)
	if a.shadow != nil {
		b.shadow = a.shadow.bestFit(size)
		b.shadow.allocate(size)
		a.extent = max(a.extent, b.shadow.off+size)
	}
	a.inUse += b.size
	a.peak = max(a.peak, a.inUse)
	return &Tensor{buf: b.slab.buf, off: b.off, n: n, dtype: dtype, shape: append(Shape(nil), s...), block: b}
}

// Free frees a tensor's memory before the step ends. The tensor and its views must not be used again. Free does
// nothing for a tensor that did not come from an arena, and panics when a tensor is freed twice.
func (a *Arena) Free(t *Tensor) {
	if t == nil || t.block == nil {
		return
	}
	b := t.block
	if !b.used {
		panic(fmt.Sprintf("tensor: %s freed twice", t))
	}
	a.poison(b)
	a.inUse -= b.size
	if b.shadow != nil {
		b.shadow.free()
		b.shadow = nil
	}
	b.free()
}

// rounded returns the size of the block for an allocation of the given number of bytes.
func (a *Arena) rounded(bytes int) int {
	align := arenaAlign
	if a.Coarse {
		align = max(align, 1<<bits.Len(uint(bytes))>>6)
	}
	return (bytes + align - 1) &^ (align - 1)
}

// Reset frees every tensor.
func (a *Arena) Reset() {
	if a.Poison {
		for _, s := range a.slabs {
			for b := s.first; b != nil; b = b.next {
				if b.used {
					a.poison(b)
				}
			}
		}
	}
	a.inUse = 0
	if a.shadow != nil {
		a.needed = a.extent
	}
	if len(a.slabs) == 1 {
		s := a.slabs[0]
		s.first = &block{slab: s, size: s.buf.Size}
		a.shadow = nil
		return
	}
	need := 0
	if a.shadow != nil {
		need = (a.extent + a.extent/32*a.outgrown) &^ (arenaAlign - 1)
	} else {
		// A step that was not measured has outgrown the slab: the next one shows how much is needed.
		a.outgrown++
	}
	a.Release()
	if need > 0 {
		// Without memory now, the next step grows or says that there is none.
		_ = a.add(need)
	}
}

// Reserve makes an arena hold at least the given number of bytes in one slab, for a caller who knows more than the
// steps so far have shown. It does not count towards Peak. It panics while tensors are allocated.
func (a *Arena) Reserve(bytes int) {
	if a.inUse != 0 {
		panic(fmt.Sprintf("tensor: Reserve on an arena with %d bytes in use", a.inUse))
	}
	if a.Reserved() < bytes {
		a.Release()
		a.grow(bytes)
	}
}

// Fit makes an arena hold one slab of the size that its last measured step needed, plus spare bytes. It panics while
// tensors are allocated.
func (a *Arena) Fit(spare int) {
	if a.inUse != 0 {
		panic(fmt.Sprintf("tensor: Fit on an arena with %d bytes in use", a.inUse))
	}
	size := (a.needed + spare + arenaAlign - 1) &^ (arenaAlign - 1)
	if size != a.Reserved() {
		a.Release()
		a.Reserve(size)
	}
}

// Release frees the slabs themselves.
func (a *Arena) Release() {
	for _, s := range a.slabs {
		a.alloc.Free(s.buf)
	}
	a.slabs, a.inUse = nil, 0
	a.measure()
}

// InUse returns the number of bytes that are allocated and not freed.
func (a *Arena) InUse() int { return a.inUse }

// Peak returns the largest InUse since the arena was made.
func (a *Arena) Peak() int { return a.peak }

// Reserved returns the number of bytes that the arena holds from its allocator.
func (a *Arena) Reserved() int {
	n := 0
	for _, s := range a.slabs {
		n += s.buf.Size
	}
	return n
}

// bestFit returns the smallest free block that has room, or nil. The free end of a slab is used last, so that a slab
// is filled no further than necessary.
func bestFit(slabs []*slab, size int) *block {
	var best *block
	for _, s := range slabs {
		if b := s.bestFit(size); b != nil && (best == nil || b.before(best)) {
			best = b
		}
	}
	return best
}

func (s *slab) bestFit(size int) *block {
	var best *block
	for b := s.first; b != nil; b = b.next {
		if !b.used && b.size >= size && (best == nil || b.before(best)) {
			best = b
		}
	}
	return best
}

// before reports whether the free block b is to be used rather than c.
func (b *block) before(c *block) bool {
	if end := b.next == nil; end != (c.next == nil) {
		return !end
	}
	return b.size < c.size
}

func (a *Arena) grow(size int) *block {
	// Growing by a quarter of what is held keeps the number of slabs of the first step small without
	// reserving much more than the step needs.
	want := max(size, arenaMinSlab, a.Reserved()/4)
	want = (want + arenaAlign - 1) &^ (arenaAlign - 1)
	err := a.add(want)
	if err != nil && want > size {
		err = a.add(size)
	}
	if err != nil {
		e := AllocationFailed(a.alloc.Device(), size, err)
		e.InUse = max(e.InUse, a.inUse)
		panic(e)
	}
	return a.slabs[len(a.slabs)-1].first
}

// add appends a slab.
func (a *Arena) add(size int) error {
	buf, err := a.alloc.Alloc(size)
	if err != nil {
		return err
	}
	s := &slab{buf: buf}
	s.first = &block{slab: s, size: size}
	a.slabs = append(a.slabs, s)
	return nil
}

// allocate marks the first size bytes of a free block as used and makes the rest a free block of its own.
func (b *block) allocate(size int) {
	b.used = true
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

// free marks a block as free and merges it with free neighbours.
func (b *block) free() {
	b.used = false
	if n := b.next; n != nil && !n.used {
		b.join()
	}
	if p := b.prev; p != nil && !p.used {
		p.join()
	}
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
