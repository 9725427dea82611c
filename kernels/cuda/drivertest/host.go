package drivertest

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// Host is a driver whose device memory is host memory and whose kernels are Go functions. Everything is done at once;
// under Late it is done as late as events allow.
type Host struct {
	// Kernels are the kernels of every module by name. They receive the packed arguments.
	Kernels map[string]func(d *Host, l *gpu.Launch) error

	memory []byte
	next   int
}

// hostBase is the address of the first byte, so that 0 is no valid address.
const hostBase = 1 << 12

// NewHost returns a device with the given bytes of memory and no kernels.
func NewHost(memory int) *Host {
	return &Host{Kernels: map[string]func(*Host, *gpu.Launch) error{}, memory: make([]byte, memory)}
}

// Bytes returns n bytes of device memory.
func (d *Host) Bytes(addr uint64, n int) ([]byte, error) {
	at := int(addr) - hostBase
	if at < 0 || n < 0 || at+n > d.next {
		return nil, fmt.Errorf("drivertest: %d bytes at %#x are not allocated", n, addr)
	}
	return d.memory[at : at+n], nil
}

// Info describes the device.
func (d *Host) Info() gpu.Info {
	return gpu.Info{Name: "host", Emulated: true, Major: 8, SMs: 1, SharedPerBlock: 163 << 10, TotalMemory: len(d.memory)}
}

type hostModule struct{ d *Host }

func (m hostModule) Function(name string, _ int) (gpu.Function, error) {
	if m.d.Kernels[name] == nil {
		return nil, fmt.Errorf("drivertest: no kernel %s", name)
	}
	return name, nil
}

// Load returns a module with all Kernels.
func (d *Host) Load(string, string) (gpu.Module, error) { return hostModule{d}, nil }

// Alloc reserves memory, which Free does not return.
func (d *Host) Alloc(n int) (uint64, error) {
	size := (n + 255) &^ 255
	if d.next+size > len(d.memory) {
		return 0, gpu.ErrOutOfMemory
	}
	a := uint64(hostBase + d.next)
	d.next += size
	return a, nil
}

// Free does nothing.
func (d *Host) Free(uint64) error { return nil }

// Memory returns the free and the total bytes.
func (d *Host) Memory() (free, total int) { return len(d.memory) - d.next, len(d.memory) }

// Pin returns ordinary memory.
func (d *Host) Pin(n int) ([]byte, error) { return make([]byte, n), nil }

// Unpin does nothing.
func (d *Host) Unpin([]byte) error { return nil }

// CopyIn copies to device memory.
func (d *Host) CopyIn(dst uint64, src []byte) error {
	p, err := d.Bytes(dst, len(src))
	copy(p, src)
	return err
}

// CopyOut copies from device memory.
func (d *Host) CopyOut(dst []byte, src uint64) error {
	p, err := d.Bytes(src, len(dst))
	copy(dst, p)
	return err
}

// Copy copies inside device memory.
func (d *Host) Copy(dst, src uint64, n int) error {
	p, err := d.Bytes(src, n)
	if err != nil {
		return err
	}
	return d.CopyIn(dst, p)
}

// Feed copies at once.
func (d *Host) Feed(_ gpu.Stream, dst uint64, src []byte) error { return d.CopyIn(dst, src) }

// TensorMap fails: the device has no copy engine.
func (d *Host) TensorMap(gpu.TensorMap) ([128]byte, error) {
	return [128]byte{}, fmt.Errorf("drivertest: no tensor maps")
}

// Launch runs the Go function of a kernel.
func (d *Host) Launch(l *gpu.Launch) error { return d.Kernels[l.Name](d, l) }

// NewGraph fails; Late makes graphs of its own.
func (d *Host) NewGraph([]gpu.Command) (gpu.Graph, error) {
	return nil, fmt.Errorf("drivertest: no graphs")
}

// NewEvent returns an event that is always over.
func (d *Host) NewEvent() (gpu.Event, error) { return dryEvent{}, nil }

// Sync has nothing to wait for.
func (d *Host) Sync() error { return nil }

// Close does nothing.
func (d *Host) Close() error { return nil }
