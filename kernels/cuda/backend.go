package cuda

import (
	"errors"
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Backend performs kernels.Backend on one CUDA device. Activations and weights are bf16 or f32, statistics f32.
// It belongs to one goroutine.
type Backend struct {
	driver    Driver
	info      Info
	alloc     *allocator
	modules   map[string]Module
	functions map[string]function
	args      args
	one       Command // being run
	fault     error
	recent    recent
	blocking  bool // see SyncEach
	holding   bool // inside Together
	held      *program
	replays   replays
	staging   staging
	feeder    feeder
	scratch   workspace
	tables    map[*kernels.ParamTable]*deviceTable
	versions  Versions
}

// Versions chooses among the versions of a kernel family; 0 takes the fastest that fits, and where the one asked for
// does not fit, the next lower does the work. Tests run them all.
type Versions struct {
	Gemm      int // 1: any types and strides; 2: tensor cores; 3: compute capability 9.0
	Attention int // 1: any head size; 2: tensor cores
}

var _ kernels.Backend = (*Backend)(nil)

// New makes a backend on a driver, which it owns from then on.
func New(d Driver, v Versions) *Backend {
	b := &Backend{driver: d, info: d.Info(), modules: map[string]Module{}, functions: map[string]function{}, tables: map[*kernels.ParamTable]*deviceTable{}, versions: v}
	b.held = &program{}
	b.held.reset()
	b.staging.d = d
	b.alloc = &allocator{b: b, device: tensor.Device{Kind: tensor.CUDA, Index: b.info.Index}}
	if b.info.Emulated {
		b.alloc.device.Kind = tensor.EmulatedCUDA
	}
	b.scratch.b = b
	return b
}

// Close gives the device back.
func (b *Backend) Close() error {
	return errors.Join(b.driver.Sync(), b.replays.close(), b.staging.close(), b.driver.Close())
}

// Info describes the device.
func (b *Backend) Info() Info { return b.info }

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

// Sync waits for everything asked so far and returns the first fault since the last Sync.
func (b *Backend) Sync() error {
	b.flush()
	b.fail(b.driver.Sync())
	err := b.fault
	b.fault = nil
	b.recent.reset()
	return err
}

// run launches a kernel with the arguments packed in b.args.
func (b *Backend) run(file, name string, grid, block [3]int, shared int) {
	if b.fault != nil {
		return
	}
	if grid[0] == 0 || grid[1] == 0 || grid[2] == 0 {
		return
	}
	f, err := b.kernel(file, name, shared)
	if err != nil {
		b.fail(err)
		return
	}
	b.ask(Command{Kind: LaunchCommand, Launch: Launch{Name: name, Function: f, Grid: grid, Block: block, Shared: shared, Args: b.args.buf}})
}

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
