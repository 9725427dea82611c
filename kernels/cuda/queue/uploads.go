package queue

import (
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/tensor"
)

// uploads are the copies on the Transfer stream. The events are recycled: waiting for an old ticket waits for a later
// copy, which is safe because the copies finish in order.
type uploads struct {
	before gpu.Event
	after  [8]gpu.Event
	next   uint64
}

// Pinned returns the allocator of page-locked host memory, which Upload copies from without the host's help. It is
// safe for concurrent use.
func (q *Queue) Pinned() tensor.Allocator { return pinned{q.driver} }

// Upload starts to copy page-locked host memory to the device and returns a ticket for the copy. The copy runs after
// the commands added so far and beside those added from now on.
func (q *Queue) Upload(dst uint64, host []byte) uint64 {
	u := &q.uploads
	ticket := u.next
	u.next++
	q.Flush()
	q.do(func() error { return u.start(q.driver, ticket, dst, host) })
	return ticket
}

func (u *uploads) start(d gpu.Driver, ticket, dst uint64, host []byte) (err error) {
	after := &u.after[ticket%uint64(len(u.after))]
	for _, e := range []*gpu.Event{&u.before, after} {
		if *e == nil {
			if *e, err = d.NewEvent(); err != nil {
				return err
			}
		}
	}
	// Earlier commands may still read dst.
	if err := u.before.Record(gpu.Compute); err != nil {
		return err
	}
	if err := u.before.Follow(gpu.Transfer); err != nil {
		return err
	}
	if len(host) > 0 {
		if err := d.Feed(gpu.Transfer, dst, host); err != nil {
			return err
		}
	}
	return (*after).Record(gpu.Transfer)
}

// OrderAfter makes the commands added from now on wait for the copy of a ticket.
func (q *Queue) OrderAfter(ticket uint64) {
	q.Flush()
	q.do(func() error { return q.uploads.event(ticket).Follow(gpu.Compute) })
}

// WaitCopied blocks until the host memory of the copy may be changed.
func (q *Queue) WaitCopied(ticket uint64) {
	q.do(func() error { return q.uploads.event(ticket).Wait() })
}

func (u *uploads) event(ticket uint64) gpu.Event { return u.after[ticket%uint64(len(u.after))] }

// pinned is the allocator of page-locked host memory.
type pinned struct{ d gpu.Driver }

func (pinned) Device() tensor.Device { return tensor.Device{Kind: tensor.CPU} }

func (p pinned) Alloc(bytes int) (*tensor.Buffer, error) {
	host, err := p.d.Pin(max(bytes, 1))
	if err != nil {
		return nil, err
	}
	return &tensor.Buffer{Host: host[:bytes], Size: bytes}, nil
}

func (p pinned) Free(b *tensor.Buffer) {
	if b.Host != nil {
		// There is nothing to repair when the driver does not know the memory any more.
		_ = p.d.Unpin(b.Host[:max(b.Size, 1)])
		b.Host = nil
	}
}
