package tensor

import (
	"errors"
	"fmt"
)

// Buffer is one block of memory on one device. Host memory is reached through Host; device memory only
// through its address, by the backend that owns it.
type Buffer struct {
	Device Device
	Host   []byte // CPU memory, 64-byte aligned; nil on an accelerator
	Addr   uint64 // device address; 0 on the CPU
	Size   int    // bytes
}

// Allocator hands out blocks of memory of one device. Blocks are aligned to at least 64 bytes (256 on an
// accelerator) and their content is undefined.
type Allocator interface {
	Device() Device
	Alloc(bytes int) (*Buffer, error)
	Free(*Buffer)
}

// OutOfMemory is the error of an allocator that has no memory left, and what an Arena panics with; CatchOutOfMemory
// turns the panic back into an error. Requested, InUse and Free are bytes: InUse is what the allocator, or else the
// arena, has handed out, 0 where neither counts, and Free is negative where the device does not tell. What to do about
// it is for the caller to say, who knows what the memory was for.
type OutOfMemory struct {
	Device    Device
	Requested int
	InUse     int
	Free      int
	Cause     error
}

func (e *OutOfMemory) Error() string {
	msg := fmt.Sprintf("%s: out of memory: asked for %d MiB", e.Device, e.Requested>>20)
	if e.InUse > 0 {
		msg += fmt.Sprintf(" with %d MiB in use", e.InUse>>20)
	}
	if e.Free >= 0 {
		msg += fmt.Sprintf(" and %d MiB free", e.Free>>20)
	}
	if e.Cause != nil {
		msg += ": " + e.Cause.Error()
	}
	return msg
}

func (e *OutOfMemory) Unwrap() error { return e.Cause }

// AllocationFailed returns the OutOfMemory in err, which an allocator of device d returned for a request of the given
// number of bytes, or else a new one that has err as its cause.
func AllocationFailed(d Device, bytes int, err error) *OutOfMemory {
	var e *OutOfMemory
	if errors.As(err, &e) {
		return e
	}
	return &OutOfMemory{Device: d, Requested: bytes, Free: -1, Cause: err}
}

// CatchOutOfMemory, deferred, turns a panic with *OutOfMemory into *err.
func CatchOutOfMemory(err *error) {
	r := recover()
	if r == nil {
		return
	}
	e, ok := r.(*OutOfMemory)
	if !ok {
		panic(r)
	}
	*err = e
}

// Host is the allocator of CPU memory. It is safe for concurrent use.
var Host Allocator = hostAllocator{}

type hostAllocator struct{}

func (hostAllocator) Device() Device { return Device{Kind: CPU} }

func (hostAllocator) Alloc(bytes int) (*Buffer, error) {
	if bytes < 0 {
		return nil, fmt.Errorf("tensor: cannot allocate %d bytes", bytes)
	}
	host, err := hostAlloc(bytes)
	if err != nil {
		return nil, AllocationFailed(Device{Kind: CPU}, bytes, err)
	}
	return &Buffer{Host: host, Size: bytes}, nil
}

func (hostAllocator) Free(b *Buffer) { hostFree(b); b.Host = nil }
