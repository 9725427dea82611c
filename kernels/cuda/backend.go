package cuda

import (
	"errors"
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/cuda/queue"
	"github.com/dino-mx/dmx/tensor"
)

// Backend performs kernels.Backend on one CUDA device. Activations and weights are bf16 or f32, statistics f32.
// It belongs to one goroutine.
type Backend struct {
	driver   gpu.Driver
	info     gpu.Info
	queue    *queue.Queue
	alloc    *allocator
	library  library
	args     args
	scratch  workspace
	tables   map[*kernels.ParamTable]*deviceTable
	versions Versions
}

var _ kernels.Backend = (*Backend)(nil)

// New makes a backend on a driver, which it owns from then on.
func New(d gpu.Driver, v Versions) *Backend {
	b := &Backend{driver: d, info: d.Info(), tables: map[*kernels.ParamTable]*deviceTable{}, versions: v}
	device := tensor.Device{Kind: tensor.CUDA, Index: b.info.Index}
	if b.info.Emulated {
		device.Kind = tensor.EmulatedCUDA
	}
	b.library = library{driver: d, modules: map[string]gpu.Module{}, functions: map[string]function{}}
	b.queue = queue.New(d, device)
	b.alloc = &allocator{b: b, device: device}
	b.scratch.b = b
	return b
}

// Close frees what the backend holds on the device and closes the driver.
func (b *Backend) Close() error {
	return errors.Join(b.queue.Close(), b.driver.Close())
}

// Info describes the device.
func (b *Backend) Info() gpu.Info { return b.info }

// Name is for example "cuda/sm_90".
func (b *Backend) Name() string {
	kind := "cuda"
	if b.info.Emulated {
		kind = "emulated-cuda"
	}
	return fmt.Sprintf("%s/sm_%d%d", kind, b.info.Major, b.info.Minor)
}

// Allocator hands out device memory.
func (b *Backend) Allocator() tensor.Allocator { return b.alloc }

// each launches a kernel over n elements, per elements a thread, 256 threads a block.
func (b *Backend) each(file, name string, n, per int) {
	threads := (n + per - 1) / per
	b.run(file, name, [3]int{(threads + 255) / 256, 1, 1}, [3]int{256, 1, 1}, 0)
}

// rows launches a kernel over rows with a group of threads each: a warp up to 1,024 columns, else 256 threads.
func (b *Backend) rows(file, name string, rows, cols int) {
	if cols <= 1024 {
		b.run(file, name, [3]int{(rows + 7) / 8, 1, 1}, [3]int{32, 8, 1}, 0)
		return
	}
	b.run(file, name, [3]int{rows, 1, 1}, [3]int{256, 1, 1}, 0)
}

// vec chooses between the element-wise and the four-element form of a kernel: the second needs columns in
// multiples of four and addresses aligned to four elements.
func vec(cols int, ts ...*tensor.Tensor) bool {
	if cols%4 != 0 {
		return false
	}
	for _, t := range ts {
		if t != nil && t.Addr()%uint64(4*t.DType().Size()) != 0 {
			return false
		}
	}
	return true
}

// form is the name of a kernel for a type and a vector width.
func form(name string, v bool, ts ...*tensor.Tensor) (string, int) {
	for _, t := range ts {
		name += "_" + t.DType().String()
	}
	if v {
		return name + "v", 4
	}
	return name, 1
}

func mustDevice(d tensor.DType) {
	if d != tensor.F32 && d != tensor.BF16 {
		panic("cuda: type " + d.String() + " does not exist on a GPU; use f32 or bf16")
	}
}
