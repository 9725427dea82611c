package cuda

import (
	"errors"
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/tensor"
)

// allocator hands out device memory and keeps nothing: arenas above it reserve large blocks once.
type allocator struct {
	b      *Backend
	device tensor.Device
	used   int // bytes handed out
}

func (a *allocator) Device() tensor.Device { return a.device }

func (a *allocator) Alloc(bytes int) (*tensor.Buffer, error) {
	addr, err := a.b.driver.Alloc(max(bytes, 1))
	if errors.Is(err, gpu.ErrOutOfMemory) {
		free, _ := a.b.driver.Memory()
		return nil, &tensor.OutOfMemory{Device: a.device, Requested: bytes, InUse: a.used, Free: free}
	}
	if err != nil {
		a.b.queue.Fail(err)
		return nil, fmt.Errorf("%s: allocate %d bytes: %w", a.device, bytes, err)
	}
	a.used += bytes
	return &tensor.Buffer{Device: a.device, Addr: addr, Size: bytes}, nil
}

func (a *allocator) Free(buf *tensor.Buffer) {
	if buf.Addr == 0 {
		return
	}
	// Submitted work may still use the memory.
	a.b.queue.Drain()
	// A buffer that the device does not know any more cannot be given back twice; there is nothing to repair.
	_ = a.b.driver.Free(buf.Addr)
	a.used -= buf.Size
	buf.Addr = 0
}

// MemoryInUse is the bytes of device memory that this backend holds.
func (b *Backend) MemoryInUse() int { return b.alloc.used }

// workspace is memory for partial sums, grown to the largest need and kept.
type workspace struct {
	b   *Backend
	buf *tensor.Buffer
	all *tensor.Tensor
}

// floats is scratch of at least n f32 whose content is undefined, valid until the next call.
func (w *workspace) floats(n int) *tensor.Tensor {
	if w.all == nil || w.all.Len() < n {
		w.buf = w.b.replace(w.buf, 4*n)
		w.all = tensor.Over(w.buf, 0, tensor.F32, n)
	}
	return w.all
}

// replace gives old back, once the device is done with it, and reserves a buffer of the given size.
func (b *Backend) replace(old *tensor.Buffer, bytes int) *tensor.Buffer {
	if old != nil {
		b.alloc.Free(old)
	}
	buf, err := b.alloc.Alloc(bytes)
	if err != nil {
		panic(tensor.AllocationFailed(b.alloc.device, bytes, err))
	}
	return buf
}

// Upload copies a host tensor to the device.
func (b *Backend) Upload(dst, host *tensor.Tensor) {
	kernels.CheckTransfer("Upload", dst, host)
	if dst.Len() > 0 {
		b.queue.CopyIn(dst.Addr(), host.Bytes())
	}
}

// Download copies a device tensor to the host and waits.
func (b *Backend) Download(host, src *tensor.Tensor) {
	kernels.CheckTransfer("Download", host, src)
	if src.Len() > 0 {
		b.queue.CopyOut(host.Bytes(), src.Addr())
	}
}

// Copy copies elements, converting between the float types.
func (b *Backend) Copy(dst, src *tensor.Tensor) {
	kernels.CheckCopy(dst, src)
	if dst.Len() == 0 {
		return
	}
	if dst.DType() == src.DType() {
		b.queue.Add(gpu.Command{Kind: gpu.CopyCommand, Dst: dst.Addr(), Src: src.Addr(), Bytes: dst.NumBytes()})
		return
	}
	mustDevice(dst.DType())
	mustDevice(src.DType())
	name, per := form("convert", vec(dst.Len(), dst, src), dst, src)
	b.args.reset().ptr(dst).ptr(src).i32(dst.Len())
	b.each("elementwise", name, dst.Len(), per)
}
