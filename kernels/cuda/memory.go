package cuda

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// allocator hands out device memory and keeps nothing: arenas above it reserve large blocks once.
type allocator struct {
	d      Driver
	device tensor.Device
}

func (a *allocator) Device() tensor.Device { return a.device }

func (a *allocator) Alloc(bytes int) (*tensor.Buffer, error) {
	addr, err := a.d.Alloc(max(bytes, 1))
	if err != nil {
		free, total := a.d.Memory()
		return nil, fmt.Errorf("%s: %d MiB asked for, %d of %d MiB free: %w", a.device, bytes>>20, free>>20, total>>20, err)
	}
	return &tensor.Buffer{Device: a.device, Addr: addr, Size: bytes}, nil
}

func (a *allocator) Free(b *tensor.Buffer) {
	if b.Addr != 0 {
		// A buffer that the device does not know any more cannot be given back twice; there is nothing to repair.
		_ = a.d.Free(b.Addr)
		b.Addr = 0
	}
}

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
		b.fail(b.driver.Sync())
		b.alloc.Free(old)
	}
	buf, err := b.alloc.Alloc(bytes)
	if err != nil {
		panic(&tensor.OutOfMemory{Device: b.alloc.device, Requested: bytes, Free: -1, Cause: err})
	}
	return buf
}

// Upload copies a host tensor to the device and waits.
func (b *Backend) Upload(dst, host *tensor.Tensor) {
	kernels.CheckTransfer("Upload", dst, host)
	if b.fault == nil && dst.Len() > 0 {
		b.fail(b.driver.CopyIn(dst.Addr(), host.Bytes()))
	}
}

// Download copies a device tensor to the host and waits.
func (b *Backend) Download(host, src *tensor.Tensor) {
	kernels.CheckTransfer("Download", host, src)
	if b.fault == nil && src.Len() > 0 {
		b.fail(b.driver.CopyOut(host.Bytes(), src.Addr()))
	}
}

// Copy copies elements, converting between the float types.
func (b *Backend) Copy(dst, src *tensor.Tensor) {
	kernels.CheckCopy(dst, src)
	if dst.Len() == 0 {
		return
	}
	if dst.DType() == src.DType() {
		if b.fault == nil {
			b.fail(b.driver.Copy(dst.Addr(), src.Addr(), dst.NumBytes()))
		}
		return
	}
	mustDevice(dst.DType())
	mustDevice(src.DType())
	name, per := form("convert", vec(dst.Len(), dst, src), dst, src)
	b.args.reset().ptr(dst).ptr(src).i32(dst.Len())
	b.each("elementwise", name, dst.Len(), per)
}
