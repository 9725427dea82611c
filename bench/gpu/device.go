package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/driver"
	contract "github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

const emulated = "emulated-cuda"

// versions is cuda.Versions; the zero value takes the fastest kernels.
type versions = cuda.Versions

// gpu is the engine's contestant: a backend on a driver of its own.
type gpu struct {
	driver  contract.Driver
	backend *cuda.Backend
	buffer  *tensor.Buffer // behind flush
	flush   *tensor.Tensor // written before every repeat
}

// openDriver opens a GPU, or the interpreter.
func openDriver(device string) (contract.Driver, error) {
	if device == emulated {
		return ptx.NewDriver(1<<30, 1), nil
	}
	n, err := strconv.Atoi(strings.TrimPrefix(device, "cuda:"))
	if err != nil {
		return nil, fmt.Errorf("-device %s: expected cuda:N, for example cuda:0", device)
	}
	return driver.Open(n)
}

func (b *bench) open(v versions) (*gpu, error) {
	d, err := openDriver(b.device)
	if err != nil {
		return nil, err
	}
	return &gpu{driver: d, backend: cuda.New(d, v)}, nil
}

// with is another backend on the same device and memory. It is not closed: g's close ends the device.
func (g *gpu) with(v versions) *gpu {
	return &gpu{driver: g.driver, backend: cuda.New(g.driver, v), buffer: g.buffer, flush: g.flush}
}

func (g *gpu) close() {
	if g.buffer != nil {
		g.backend.Allocator().Free(g.buffer)
	}
	// A device that cannot be given back goes with the process.
	_ = g.backend.Close()
}

// flushBytes is what is written before every repeat: several times the largest cache, and work enough for the device
// that the host has asked for the repeat before it is done. PyTorch's side does the same.
func (b *bench) flushBytes() int {
	if b.dry {
		return 1 << 12
	}
	return 512 << 20
}

// prepare reserves the memory that is written before every repeat.
func (g *gpu) prepare(b *bench) (err error) {
	if g.buffer, err = g.backend.Allocator().Alloc(b.flushBytes()); err == nil {
		g.flush = tensor.Over(g.buffer, 0, tensor.F32, b.flushBytes()/4)
	}
	return err
}

// sample times one call of work on cold caches, in nanoseconds of the device.
func (g *gpu) sample(work func()) (float64, error) {
	g.backend.Fill(g.flush, 1)
	d, err := g.time(work)
	if err != nil {
		return 0, err
	}
	return float64(d.Nanoseconds()), g.backend.Sync()
}

// time is between two events of the device, or by the host's clock on a device that has none.
func (g *gpu) time(work func()) (time.Duration, error) {
	if t, ok := g.driver.(interface {
		Time(func()) (time.Duration, error)
	}); ok {
		return t.Time(work)
	}
	if err := g.backend.Sync(); err != nil {
		return 0, err
	}
	start := time.Now()
	work()
	err := g.backend.Sync()
	return time.Since(start), err
}

// launched lists the kernels that work asks for on a backend of the given versions.
func (b *bench) launched(v versions, work func(*cuda.Backend) error) (map[string]bool, error) {
	d, err := openDriver(b.device)
	if err != nil {
		return nil, err
	}
	r := &recorder{Driver: d, names: map[string]bool{}}
	be := cuda.New(r, v)
	defer be.Close()
	if err := work(be); err != nil {
		return nil, err
	}
	return r.names, be.Sync()
}

// recorder notes which kernels a driver is asked for.
type recorder struct {
	contract.Driver
	names map[string]bool
}

func (r *recorder) Launch(l *contract.Launch) error {
	r.names[l.Name] = true
	return r.Driver.Launch(l)
}
