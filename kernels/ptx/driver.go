package ptx

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// Driver is a gpu.Driver that executes kernels on the CPU, instruction by instruction, under the sanitizer. A
// finding is an error of the launch.
type Driver struct {
	Machine *Machine
	info    gpu.Info
}

var _ gpu.Driver = (*Driver)(nil)

// NewDriver emulates a device of compute capability 8.0 (an A100) with the given bytes of memory. seed chooses the
// schedule.
func NewDriver(memory int, seed uint64) *Driver {
	return newDriver(memory, seed, gpu.Info{Major: 8, SMs: 108, SharedPerBlock: SharedLimit80})
}

// NewHopperDriver emulates a device of compute capability 9.0 (an H100).
func NewHopperDriver(memory int, seed uint64) *Driver {
	return newDriver(memory, seed, gpu.Info{Major: 9, SMs: 132, SharedPerBlock: SharedLimit})
}

func newDriver(memory int, seed uint64, info gpu.Info) *Driver {
	m := NewMachine(memory)
	m.Seed, m.SharedPerBlock = seed, info.SharedPerBlock
	info.Name, info.Emulated, info.TotalMemory = "PTX interpreter", true, memory
	return &Driver{Machine: m, info: info}
}

// Info describes the emulated device.
func (d *Driver) Info() gpu.Info { return d.info }

// Load parses and compiles a module.
func (d *Driver) Load(name, src string) (gpu.Module, error) {
	mod, err := syntax.Parse(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := d.runs(mod.Target); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p, err := d.Machine.Load(mod)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return module{p}, nil
}

// runs checks that the device executes PTX for target, for example "sm_80" (that and every later one) or "sm_90a"
// (that one only).
func (d *Driver) runs(target string) error {
	var sm int
	var suffix string
	if n, err := fmt.Sscanf(target, "sm_%d%s", &sm, &suffix); n == 0 {
		return fmt.Errorf("ptx: .target %q: %w", target, err)
	}
	if have := 10*d.info.Major + d.info.Minor; sm > have || suffix == "a" && sm != have {
		return fmt.Errorf("ptx: .target %s does not run on compute capability %d.%d", target, d.info.Major, d.info.Minor)
	}
	return nil
}

type module struct{ p *Program }

type function struct {
	p       *Program
	name    string
	dynamic int // bytes of dynamic shared memory that a launch may have
}

// Function finds a kernel.
func (m module) Function(name string, shared int) (gpu.Function, error) {
	k := m.p.Kernel(name)
	if k == nil {
		return nil, fmt.Errorf("ptx: the module has no kernel %s", name)
	}
	if n, most := k.SharedLen+shared, m.p.machine.SharedPerBlock; n > most {
		return nil, fmt.Errorf("ptx: kernel %s: CUDA_ERROR_INVALID_VALUE: %d bytes of shared memory, at most %d fit", name, n, most)
	}
	// Without a word to the driver, static and dynamic shared memory are at most 48 KiB together.
	if shared == 0 {
		shared = maxStaticShared - k.SharedLen
	}
	return function{m.p, name, shared}, nil
}

// Alloc reserves device memory.
func (d *Driver) Alloc(bytes int) (uint64, error) { return d.Machine.Alloc(bytes) }

// Free gives device memory back.
func (d *Driver) Free(addr uint64) error { return d.Machine.Free(addr) }

// Memory tells the free and the total bytes.
func (d *Driver) Memory() (free, total int) {
	return d.Machine.Limit() - d.Machine.InUse(), d.Machine.Limit()
}

// CopyIn copies host bytes to the device.
func (d *Driver) CopyIn(dst uint64, src []byte) error { return d.Machine.Write(dst, src) }

// CopyOut copies device bytes to the host.
func (d *Driver) CopyOut(dst []byte, src uint64) error { return d.Machine.Read(dst, src) }

// Copy copies bytes inside the device.
func (d *Driver) Copy(dst, src uint64, bytes int) error { return d.Machine.Copy(dst, src, bytes) }

// TensorMap encodes a matrix for the emulated copy engine, which knows its own maps by a magic number.
func (d *Driver) TensorMap(m gpu.TensorMap) ([128]byte, error) {
	if err := m.Check(); err != nil {
		return [128]byte{}, err
	}
	t := tensorMap{addr: m.Addr, elem: m.ElemBytes, swizzle: m.Swizzle, rank: 2, dims: [5]int{m.Cols, m.Rows},
		strides: [5]int{m.ElemBytes, m.RowBytes}, box: [5]int{m.BoxCols, m.BoxRows}}
	return t.encode(), nil
}

// Launch runs a kernel to its end.
func (d *Driver) Launch(l *gpu.Launch) error {
	f := l.Function.(function)
	if l.Shared > f.dynamic {
		return fmt.Errorf("ptx: kernel %s: CUDA_ERROR_INVALID_VALUE: %d bytes of dynamic shared memory, "+
			"the function was prepared for %d", f.name, l.Shared, f.dynamic)
	}
	params, err := f.p.Kernel(f.name).Place(l.Args, l.Params)
	if err != nil {
		return err
	}
	return f.p.Launch(f.name, l.Grid, l.Block, l.Shared, params)
}

// Pin is ordinary memory.
func (d *Driver) Pin(bytes int) ([]byte, error) { return make([]byte, bytes), nil }

// Unpin leaves it to the garbage collector.
func (d *Driver) Unpin([]byte) error { return nil }

// Feed copies at once.
func (d *Driver) Feed(_ gpu.Stream, dst uint64, src []byte) error { return d.CopyIn(dst, src) }

// NewEvent makes an event that is always over: everything is done when it is asked for.
func (d *Driver) NewEvent() (gpu.Event, error) { return over{}, nil }

type over struct{}

func (over) Record(gpu.Stream) error { return nil }
func (over) Follow(gpu.Stream) error { return nil }
func (over) Wait() error             { return nil }

// Sync has nothing to wait for: launches run at once.
func (d *Driver) Sync() error { return nil }

// Close forgets nothing; the memory goes with the machine.
func (d *Driver) Close() error { return nil }
