package drivertest

import (
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// Dry is a driver of a device that computes nothing: every kernel exists and does nothing, and memory is only
// counted. What is copied out of it is zero.
type Dry struct {
	// Used is the bytes allocated now, Most the largest Used so far.
	Used, Most int

	info  gpu.Info
	sizes map[uint64]int
	next  uint64
}

// NewDry makes a device of compute capability 8.0 with the given bytes of memory.
func NewDry(memory int) *Dry {
	return &Dry{
		info:  gpu.Info{Name: "dry", Emulated: true, Major: 8, SMs: 108, SharedPerBlock: 163 << 10, TotalMemory: memory},
		sizes: map[uint64]int{}, next: 1 << 20,
	}
}

// Info describes the device.
func (d *Dry) Info() gpu.Info { return d.info }

type dryModule struct{}

func (dryModule) Function(name string, _ int) (gpu.Function, error) { return name, nil }

// Load has every kernel.
func (d *Dry) Load(string, string) (gpu.Module, error) { return dryModule{}, nil }

// Alloc gives an address.
func (d *Dry) Alloc(n int) (uint64, error) {
	if d.Used+n > d.info.TotalMemory {
		return 0, gpu.ErrOutOfMemory
	}
	a := d.next
	d.next += uint64(n+255) &^ 255
	d.sizes[a] = n
	d.Used += n
	d.Most = max(d.Most, d.Used)
	return a, nil
}

// Free takes it back.
func (d *Dry) Free(a uint64) error { d.Used -= d.sizes[a]; delete(d.sizes, a); return nil }

// Memory tells what is not allocated.
func (d *Dry) Memory() (free, total int) { return d.info.TotalMemory - d.Used, d.info.TotalMemory }

// Pin is ordinary memory.
func (d *Dry) Pin(n int) ([]byte, error) { return make([]byte, n), nil }

// Unpin does nothing.
func (d *Dry) Unpin([]byte) error { return nil }

// CopyIn does nothing.
func (d *Dry) CopyIn(uint64, []byte) error { return nil }

// CopyOut gives zeros.
func (d *Dry) CopyOut(dst []byte, _ uint64) error { clear(dst); return nil }

// Copy does nothing.
func (d *Dry) Copy(_, _ uint64, _ int) error { return nil }

// Feed does nothing.
func (d *Dry) Feed(gpu.Stream, uint64, []byte) error { return nil }

// TensorMap checks m.
func (d *Dry) TensorMap(m gpu.TensorMap) (out [128]byte, err error) { return out, m.Check() }

// Launch does nothing.
func (d *Dry) Launch(*gpu.Launch) error { return nil }

type dryGraph struct{}

func (dryGraph) Launch([]gpu.Command, []int) error { return nil }
func (dryGraph) Close() error                      { return nil }

// NewGraph makes a graph that does nothing.
func (d *Dry) NewGraph([]gpu.Command) (gpu.Graph, error) { return dryGraph{}, nil }

type dryEvent struct{}

func (dryEvent) Record(gpu.Stream) error { return nil }
func (dryEvent) Follow(gpu.Stream) error { return nil }
func (dryEvent) Wait() error             { return nil }

// NewEvent makes an event that is over.
func (d *Dry) NewEvent() (gpu.Event, error) { return dryEvent{}, nil }

// Sync does nothing.
func (d *Dry) Sync() error { return nil }

// Close does nothing.
func (d *Dry) Close() error { return nil }
