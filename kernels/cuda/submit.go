package cuda

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/cuda/queue"
	"github.com/dino-mx/dmx/tensor"
)

var (
	_ kernels.Batcher       = (*Backend)(nil)
	_ kernels.AsyncUploader = (*Backend)(nil)
)

// Submit runs f and submits its operations in one piece, or in several where f reads results.
func (b *Backend) Submit(f func()) { b.queue.Submit(f) }

// SyncEach makes the device finish every kernel before the next is submitted, so that a fault names its kernel. It is
// slow.
func (b *Backend) SyncEach() { b.queue.SyncEach() }

// Sync waits for all operations and returns the first fault since the last Sync.
func (b *Backend) Sync() error { return b.queue.Sync() }

// Pinned returns the allocator of page-locked host memory, which UploadAsync copies from without the host's help.
func (b *Backend) Pinned() tensor.Allocator { return b.queue.Pinned() }

// UploadAsync starts to copy host to dst beside the operations submitted from now on.
func (b *Backend) UploadAsync(dst, host *tensor.Tensor) kernels.Ticket {
	kernels.CheckTransfer("UploadAsync", dst, host)
	return kernels.Ticket(b.queue.Upload(dst.Addr(), host.Bytes()).N)
}

// OrderAfter makes the operations submitted from now on wait for a copy.
func (b *Backend) OrderAfter(t kernels.Ticket) { b.queue.OrderAfter(upload(t)) }

// WaitCopied blocks until the host memory of a copy may be changed.
func (b *Backend) WaitCopied(t kernels.Ticket) { b.queue.Wait(upload(t)) }

func upload(t kernels.Ticket) queue.Ticket { return queue.Ticket{Stream: gpu.Transfer, N: uint64(t)} }

// run submits a kernel with the arguments in b.args.
func (b *Backend) run(file, name string, grid, block [3]int, shared int) {
	if b.queue.Failed() || grid[0] == 0 || grid[1] == 0 || grid[2] == 0 {
		return
	}
	f, err := b.library.kernel(file, name, shared)
	if err != nil {
		b.queue.Fail(err)
		return
	}
	b.queue.Add(gpu.Command{Kind: gpu.LaunchCommand,
		Launch: gpu.Launch{Name: name, Function: f, Grid: grid, Block: block, Shared: shared,
			Args: b.args.buf, Params: b.args.params}})
}
