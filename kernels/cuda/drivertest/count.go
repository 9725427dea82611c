package drivertest

import (
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// Counts are calls of a driver.
type Counts struct {
	Launches                    int // kernels launched one by one
	Graphs, Replays             int // graphs made, and launched
	Commands, Changed           int // of the launched graphs
	Allocs, Frees, Pins         int
	CopiesIn, CopiesOut, Copies int // CopyIn and CopyOut wait
	Feeds                       int
	Syncs, Waits                int // Sync of the driver, Wait of an event
}

// Counter counts what a driver is asked for.
type Counter struct {
	gpu.Driver
	Counts
}

// Take returns the counts since the last Take.
func (d *Counter) Take() Counts {
	c := d.Counts
	d.Counts = Counts{}
	return c
}

// Launch counts.
func (d *Counter) Launch(l *gpu.Launch) error { d.Launches++; return d.Driver.Launch(l) }

// Alloc counts.
func (d *Counter) Alloc(n int) (uint64, error) { d.Allocs++; return d.Driver.Alloc(n) }

// Free counts.
func (d *Counter) Free(a uint64) error { d.Frees++; return d.Driver.Free(a) }

// Pin counts.
func (d *Counter) Pin(n int) ([]byte, error) { d.Pins++; return d.Driver.Pin(n) }

// CopyIn counts.
func (d *Counter) CopyIn(dst uint64, src []byte) error {
	d.CopiesIn++
	return d.Driver.CopyIn(dst, src)
}

// CopyOut counts.
func (d *Counter) CopyOut(dst []byte, src uint64) error {
	d.CopiesOut++
	return d.Driver.CopyOut(dst, src)
}

// Copy counts.
func (d *Counter) Copy(dst, src uint64, n int) error { d.Copies++; return d.Driver.Copy(dst, src, n) }

// Feed counts.
func (d *Counter) Feed(s gpu.Stream, dst uint64, src []byte) error {
	d.Feeds++
	return d.Driver.Feed(s, dst, src)
}

// Sync counts.
func (d *Counter) Sync() error { d.Syncs++; return d.Driver.Sync() }

type countedGraph struct {
	gpu.Graph
	d *Counter
}

// NewGraph counts.
func (d *Counter) NewGraph(cs []gpu.Command) (gpu.Graph, error) {
	d.Graphs++
	g, err := d.Driver.NewGraph(cs)
	return countedGraph{g, d}, err
}

func (g countedGraph) Launch(cs []gpu.Command, changed []int) error {
	g.d.Replays++
	g.d.Commands += len(cs)
	g.d.Changed += len(changed)
	return g.Graph.Launch(cs, changed)
}

type countedEvent struct {
	gpu.Event
	d *Counter
}

// NewEvent makes an event whose Wait is counted.
func (d *Counter) NewEvent() (gpu.Event, error) {
	e, err := d.Driver.NewEvent()
	return countedEvent{e, d}, err
}

func (e countedEvent) Wait() error { e.d.Waits++; return e.Event.Wait() }
