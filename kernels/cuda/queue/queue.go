package queue

import (
	"errors"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/tensor"
)

// Queue submits the work of one device in order. It belongs to one goroutine. After a fault it submits nothing more
// until Sync has returned the fault.
type Queue struct {
	driver   gpu.Driver
	device   tensor.Device // for messages
	one      gpu.Command   // the command being submitted outside a batch
	fault    error
	recent   recent
	blocking bool // see SyncEach
	batching bool // inside Submit
	batch    *program
	segment  int  // the number of the batch's segment that is being filled
	staged   bool // the batch reads the staging memory
	replays  replays
	staging  staging
	streams  [gpu.Streams]stream
}

// New returns an empty queue of the device behind d. device is its name in messages.
func New(d gpu.Driver, device tensor.Device) *Queue {
	q := &Queue{driver: d, device: device, batch: &program{}}
	q.batch.reset(0)
	q.staging.d = d
	return q
}

// Submit runs f and submits the commands that f adds as a batch. A batch is one segment, or several where f reads
// results or has work done beside: each of these ends a segment. A segment whose commands were submitted before becomes
// a graph.
func (q *Queue) Submit(f func()) {
	if q.batching || q.blocking {
		f()
		return
	}
	q.batching = true
	// Also when f panics: tables that were made on the way are kept by their owners, and must be what they seem.
	defer func() {
		q.Flush()
		q.batching = false
		q.segment = 0
		q.batch.reset(0)
		if q.staged {
			q.staged = false
			q.Fail(q.staging.turn())
		}
	}()
	f()
}

// Add submits a command, or appends it to the batch inside Submit. The arguments of a launch are copied.
func (q *Queue) Add(c gpu.Command) {
	if q.fault != nil {
		return
	}
	if q.batching {
		q.batch.add(c)
		return
	}
	q.one = c
	q.issue(&q.one)
}

// issue submits one command to the driver.
func (q *Queue) issue(c *gpu.Command) {
	var err error
	switch c.Kind {
	case gpu.LaunchCommand:
		q.recent.add(c.Launch.Name)
		if err = q.driver.Launch(&c.Launch); err == nil && q.blocking {
			err = q.driver.Sync()
		}
		if err != nil {
			err = q.launchError(&c.Launch, err)
		}
	case gpu.FeedCommand:
		err = q.driver.Feed(gpu.Compute, c.Dst, c.Host)
	case gpu.CopyCommand:
		err = q.driver.Copy(c.Dst, c.Src, c.Bytes)
	}
	q.Fail(err)
}

// Flush ends the segment of the batch and submits it.
func (q *Queue) Flush() {
	if len(q.batch.commands) == 0 {
		return
	}
	if q.fault == nil && !q.replay() {
		for i := range q.batch.commands {
			if q.fault != nil {
				break
			}
			q.issue(&q.batch.commands[i])
		}
	}
	q.segment++
	q.batch.reset(q.segment)
}

// CopyIn copies host bytes to the device, in the order of the commands. src may be changed afterwards.
func (q *Queue) CopyIn(dst uint64, src []byte) {
	if q.fault != nil {
		return
	}
	if q.batching && len(src) <= stagingMost {
		p, err := q.staging.put(src)
		if err != nil {
			q.Fail(err)
			return
		}
		q.staged = true
		q.Add(gpu.Command{Kind: gpu.FeedCommand, Dst: dst, Host: p})
		return
	}
	q.Flush()
	q.do(func() error { return q.driver.CopyIn(dst, src) })
}

// CopyOut copies device bytes to the host after all commands added so far, and waits.
func (q *Queue) CopyOut(dst []byte, src uint64) {
	q.Flush()
	q.do(func() error { return q.driver.CopyOut(dst, src) })
}

// Drain ends the segment of the batch, submits it and waits for the device. A fault is kept for Sync.
func (q *Queue) Drain() {
	q.Flush()
	q.Fail(q.driver.Sync())
}

// Sync waits for all commands and returns the first fault since the last Sync.
func (q *Queue) Sync() error {
	q.Drain()
	err := q.fault
	q.fault = nil
	q.recent.reset()
	return err
}

// Close frees graphs and staging memory once the device is idle. The driver stays open.
func (q *Queue) Close() error {
	return errors.Join(q.driver.Sync(), q.replays.close(), q.staging.close())
}
