package drivertest

import (
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// Failer fails at a chosen allocation or launch, counted from 1; 0 is never.
type Failer struct {
	gpu.Driver
	FailAlloc, FailLaunch int
	Err                   error
	Failed                bool // it was its turn
	Launched              int  // kernels so far

	allocs int
}

// Alloc fails at its turn as a device does that has no more memory.
func (d *Failer) Alloc(n int) (uint64, error) {
	if d.allocs++; d.allocs == d.FailAlloc {
		d.Failed = true
		return 0, gpu.ErrOutOfMemory
	}
	return d.Driver.Alloc(n)
}

// Launch fails at its turn with Err.
func (d *Failer) Launch(l *gpu.Launch) error {
	if d.Launched++; d.Launched == d.FailLaunch {
		d.Failed = true
		return d.Err
	}
	return d.Driver.Launch(l)
}

// NewGraph has no room for any, so that kernels are launched one by one.
func (d *Failer) NewGraph([]gpu.Command) (gpu.Graph, error) {
	return nil, gpu.ErrOutOfMemory
}
