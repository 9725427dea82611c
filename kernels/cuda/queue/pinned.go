package queue

import (
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/tensor"
)

// Pinned returns the allocator of page-locked host memory, which Upload copies from without the host's help. It is
// safe for concurrent use.
func (q *Queue) Pinned() tensor.Allocator { return pinned{q.driver} }

// pinned is the allocator of page-locked host memory.
type pinned struct{ d gpu.Driver }

func (pinned) Device() tensor.Device { return tensor.Device{Kind: tensor.CPU} }

func (p pinned) Alloc(bytes int) (*tensor.Buffer, error) {
	host, err := p.d.Pin(max(bytes, 1))
	if err != nil {
		return nil, err
	}
	return &tensor.Buffer{Host: host[:bytes], Size: bytes}, nil
}

func (p pinned) Free(b *tensor.Buffer) {
	if b.Host != nil {
		// There is nothing to repair when the driver does not know the memory any more.
		_ = p.d.Unpin(b.Host[:max(b.Size, 1)])
		b.Host = nil
	}
}
