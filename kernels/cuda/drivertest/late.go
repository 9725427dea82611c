package drivertest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

// Late is a driver whose work waits until the host waits for it. Then the heads of the streams are run in random
// order, as far as events let them. Host memory of Feed is read when the copy runs, errors of kernels show when the
// host next waits: a missing event, or staging memory written too early, gives wrong results here, as on a device.
type Late struct {
	gpu.Driver
	rand   *rand.Rand
	queues [gpu.Streams][]work
	fault  error
}

type work struct {
	ready func() bool // nil: at once
	run   func() error
}

// NewLate wraps a driver that does everything at once; seed chooses the order.
func NewLate(d gpu.Driver, seed uint64) *Late {
	return &Late{Driver: d, rand: rand.New(rand.NewPCG(seed, 0))}
}

func (d *Late) push(s gpu.Stream, run func() error) {
	d.queues[s] = append(d.queues[s], work{run: run})
}

// Enqueue adds work to a stream, as a communication library does that was handed the stream.
func (d *Late) Enqueue(s gpu.Stream, run func() error) { d.push(s, run) }

// until runs work until done reports true or nothing is left.
func (d *Late) until(done func() bool) error {
	for d.fault == nil && !done() {
		var can []int
		for s, q := range d.queues {
			if len(q) > 0 && (q[0].ready == nil || q[0].ready()) {
				can = append(can, s)
			}
		}
		if len(can) == 0 {
			break
		}
		s := can[d.rand.IntN(len(can))]
		w := d.queues[s][0]
		d.queues[s] = d.queues[s][1:]
		if w.run == nil {
			continue
		}
		if err := w.run(); err != nil {
			d.fault = fmt.Errorf("%w: %w", gpu.ErrFault, err)
		}
	}
	if d.fault == nil && !done() {
		d.fault = errors.New("drivertest: the host waits for something that never comes")
	}
	return d.fault // it stays, as on a device
}

// pending is the number of pieces of work that wait on all streams.
func (d *Late) pending() (n int) {
	for _, q := range d.queues {
		n += len(q)
	}
	return n
}

func (d *Late) empty(s gpu.Stream) func() bool { return func() bool { return len(d.queues[s]) == 0 } }

// Launch queues a kernel.
func (d *Late) Launch(l *gpu.Launch) error {
	c := *l
	c.Args, c.Params = bytes.Clone(l.Args), slices.Clone(l.Params)
	d.push(gpu.Compute, func() error { return d.Driver.Launch(&c) })
	return nil
}

// Copy queues a copy.
func (d *Late) Copy(dst, src uint64, n int) error {
	d.push(gpu.Compute, func() error { return d.Driver.Copy(dst, src, n) })
	return nil
}

// Feed queues a copy that reads src when it runs.
func (d *Late) Feed(s gpu.Stream, dst uint64, src []byte) error {
	d.push(s, func() error { return d.Driver.CopyIn(dst, src) })
	return nil
}

// CopyIn runs what was asked of Compute and copies.
func (d *Late) CopyIn(dst uint64, src []byte) error {
	if err := d.until(d.empty(gpu.Compute)); err != nil {
		return err
	}
	return d.Driver.CopyIn(dst, src)
}

// CopyOut runs what was asked of Compute and copies.
func (d *Late) CopyOut(dst []byte, src uint64) error {
	if err := d.until(d.empty(gpu.Compute)); err != nil {
		return err
	}
	return d.Driver.CopyOut(dst, src)
}

// Free refuses memory that queued work might use.
func (d *Late) Free(addr uint64) error {
	if n := d.pending(); n > 0 {
		d.fault = fmt.Errorf("drivertest: memory is freed with %d pieces of work to come", n)
		return d.fault
	}
	return d.Driver.Free(addr)
}

// Sync runs everything.
func (d *Late) Sync() error {
	err := d.until(func() bool { return d.pending() == 0 })
	if err != nil {
		return err
	}
	return d.Driver.Sync()
}

type lateGraph struct {
	d        *Late
	commands []gpu.Command
}

// NewGraph keeps the commands.
func (d *Late) NewGraph(cs []gpu.Command) (gpu.Graph, error) {
	g := &lateGraph{d: d, commands: make([]gpu.Command, len(cs))}
	for i := range cs {
		g.set(i, &cs[i])
	}
	return g, nil
}

func (g *lateGraph) set(i int, c *gpu.Command) {
	g.commands[i] = *c
	l := &g.commands[i].Launch
	l.Args, l.Params = bytes.Clone(l.Args), slices.Clone(l.Params)
}

// Launch queues the commands as they are now.
func (g *lateGraph) Launch(cs []gpu.Command, changed []int) error {
	for _, i := range changed {
		g.set(i, &cs[i])
	}
	for _, c := range g.commands {
		switch c.Kind {
		case gpu.LaunchCommand:
			if err := g.d.Launch(&c.Launch); err != nil {
				return err
			}
		case gpu.FeedCommand:
			if err := g.d.Feed(gpu.Compute, c.Dst, c.Host); err != nil {
				return err
			}
		case gpu.CopyCommand:
			if err := g.d.Copy(c.Dst, c.Src, c.Bytes); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *lateGraph) Close() error { return nil }

// lateEvent counts its recordings and how many of them the streams have passed.
type lateEvent struct {
	d              *Late
	recorded, over int
}

// NewEvent makes an event that was never recorded.
func (d *Late) NewEvent() (gpu.Event, error) { return &lateEvent{d: d}, nil }

func (e *lateEvent) Record(s gpu.Stream) error {
	e.recorded++
	n := e.recorded
	e.d.push(s, func() error { e.over = max(e.over, n); return nil })
	return nil
}

func (e *lateEvent) Follow(s gpu.Stream) error {
	n := e.recorded
	e.d.queues[s] = append(e.d.queues[s], work{ready: func() bool { return e.over >= n }})
	return nil
}

func (e *lateEvent) Wait() error {
	n := e.recorded
	return e.d.until(func() bool { return e.over >= n })
}
