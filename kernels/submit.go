package kernels

import "github.com/dino-mx/dmx/tensor"

// Batcher is a Backend that runs a group of operations faster when they are submitted together, for example as one
// CUDA graph.
type Batcher interface {
	// Submit runs f. The operations that f calls may be held back until f returns or reads a result; they run in
	// their order and to the same bits. A faulty operation may then be reported only at the end.
	Submit(f func())
}

// AsyncUploader is a Backend whose device receives data while it computes.
type AsyncUploader interface {
	// Pinned returns an allocator of host memory that UploadAsync copies from fastest (page-locked memory). It is
	// safe for concurrent use.
	Pinned() tensor.Allocator
	// UploadAsync starts to copy a host tensor to the device. The copy runs after the operations called so far and
	// beside those called from now on. dst must not be used before OrderAfter, and host must not be changed before
	// WaitCopied. Copies finish in order.
	UploadAsync(dst, host *tensor.Tensor) Ticket
	// OrderAfter makes the operations called from now on run after the copy.
	OrderAfter(t Ticket)
	// WaitCopied blocks until the copy is done and its host memory may be changed. A failed copy is reported by the
	// next Sync.
	WaitCopied(t Ticket)
}

// Ticket identifies one copy of an AsyncUploader. The latest eight are valid.
type Ticket uint64
