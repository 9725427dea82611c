package pool

import (
	"unsafe"

	"github.com/dino-mx/dmx/tensor"
)

// scratchMin is the least that is allocated: from 4 MiB on the host allocator asks for huge pages, and packed
// matrix panels are read too often for 4 KiB ones. Pages that nobody touches cost nothing.
const scratchMin = 4 << 20

type scratch struct {
	buf *tensor.Buffer
	_   [64]byte
}

// Scratch is memory of one worker, 64-byte aligned, with undefined content, valid until the next call for the
// same worker. Inside a task ask for the worker's own number only. It grows as needed and is kept, so that
// repeating the same work allocates nothing.
func (p *Pool) Scratch(worker, bytes int) []byte { return p.scratch[worker].get(bytes) }

// ScratchF32 is Scratch counted in float32 elements.
func (p *Pool) ScratchF32(worker, n int) []float32 {
	b := p.Scratch(worker, 4*n)
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// Shared is scratch memory that all tasks of a run may see: ask for it outside Run. There is one such block;
// it is valid until the next call of Shared.
func (p *Pool) Shared(bytes int) []byte { return p.shared.get(bytes) }

// SharedF32 is Shared counted in float32 elements.
func (p *Pool) SharedF32(n int) []float32 {
	b := p.Shared(4 * n)
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

func (s *scratch) get(bytes int) []byte {
	if s.buf == nil || s.buf.Size < bytes {
		s.free()
		size := scratchMin
		for size < bytes {
			size += size / 2
		}
		size = (size + 63) &^ 63
		buf, err := tensor.Host.Alloc(size)
		if err != nil {
			panic(tensor.AllocationFailed(tensor.Host.Device(), size, err))
		}
		s.buf = buf
	}
	return s.buf.Host[:bytes:bytes]
}

func (s *scratch) free() {
	if s.buf != nil {
		tensor.Host.Free(s.buf)
		s.buf = nil
	}
}

func (p *Pool) freeScratch() {
	for i := range p.scratch {
		p.scratch[i].free()
	}
	p.shared.free()
}
