package tensor

import "fmt"

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

// OutOfMemory is what an Arena panics with when its allocator has no more to give; the training step turns it
// back into an error. Free is negative where the device does not tell.
type OutOfMemory struct {
	Device    Device
	Requested int
	InUse     int
	Free      int
	Cause     error
}

func (e *OutOfMemory) Error() string {
	msg := fmt.Sprintf("%s: out of memory: asked for %d MiB with %d MiB in use", e.Device, e.Requested>>20, e.InUse>>20)
	if e.Free >= 0 {
		msg += fmt.Sprintf(" and %d MiB free", e.Free>>20)
	}
	msg += "; lower train.batch_size_per_gpu or crops.local_crops_number, or set train.gradient_checkpointing_enable: true"
	if e.Cause != nil {
		msg += ": " + e.Cause.Error()
	}
	return msg
}

func (e *OutOfMemory) Unwrap() error { return e.Cause }

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
		return nil, fmt.Errorf("tensor: allocate %d bytes: %w", bytes, err)
	}
	return &Buffer{Host: host, Size: bytes}, nil
}

func (hostAllocator) Free(b *Buffer) { hostFree(b); b.Host = nil }
