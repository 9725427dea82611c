package ptx

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels/cuda"
)

// Driver is a cuda.Driver that executes kernels on the CPU, instruction by instruction, under the sanitizer. A
// finding is an error of the launch.
type Driver struct {
	Machine *Machine
}

var _ cuda.Driver = (*Driver)(nil)

// NewDriver emulates a device with the given bytes of memory. seed chooses the schedule.
func NewDriver(memory int, seed uint64) *Driver {
	m := NewMachine(memory)
	m.Seed = seed
	return &Driver{Machine: m}
}

// Info describes the emulated device.
func (d *Driver) Info() cuda.Info {
	return cuda.Info{Name: "PTX interpreter", Emulated: true, Major: 8, SMs: 108, SharedPerBlock: 163 << 10, TotalMemory: d.Machine.Limit()}
}

// Load parses and compiles a module.
func (d *Driver) Load(name, src string) (cuda.Module, error) {
	mod, err := Parse(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p, err := d.Machine.Load(mod)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return module{p}, nil
}

type module struct{ p *Program }

type function struct {
	p    *Program
	name string
}

// Function finds a kernel.
func (m module) Function(name string, shared int) (cuda.Function, error) {
	k := m.p.Kernel(name)
	if k == nil {
		return nil, fmt.Errorf("ptx: the module has no kernel %s", name)
	}
	if n := k.SharedLen + shared; n > SharedLimit {
		return nil, fmt.Errorf("ptx: kernel %s: %d bytes of shared memory, at most %d fit", name, n, SharedLimit)
	}
	return function{m.p, name}, nil
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

// Launch runs a kernel to its end.
func (d *Driver) Launch(l *cuda.Launch) error {
	f := l.Function.(function)
	return f.p.Launch(f.name, l.Grid, l.Block, l.Shared, l.Args)
}

// Sync has nothing to wait for: launches run at once.
func (d *Driver) Sync() error { return nil }

// Close forgets nothing; the memory goes with the machine.
func (d *Driver) Close() error { return nil }
