package cuda

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// feeder is the Transfer stream with its events. An event is used again after as many tickets as there are: a ticket
// that old then stands for a later copy, which is over no earlier.
type feeder struct {
	before  Event
	tickets [8]Event
	next    kernels.Ticket
}

// Pinned hands out host memory that Feed copies without the host's help.
func (b *Backend) Pinned() tensor.Allocator { return pinned{b.driver} }

// Feed starts to copy host to dst beside the operations asked for from now on.
func (b *Backend) Feed(dst, host *tensor.Tensor) kernels.Ticket {
	kernels.CheckTransfer("Feed", dst, host)
	f := &b.feeder
	t := f.next
	f.next++
	b.flush()
	b.do(func() error { return f.feed(b.driver, int(t)%len(f.tickets), dst, host) })
	return t
}

func (f *feeder) feed(d Driver, i int, dst, host *tensor.Tensor) (err error) {
	if f.before == nil {
		if f.before, err = d.NewEvent(); err != nil {
			return err
		}
	}
	if f.tickets[i] == nil {
		if f.tickets[i], err = d.NewEvent(); err != nil {
			return err
		}
	}
	// Operations asked for earlier may still read dst.
	if err := f.before.Record(Compute); err != nil {
		return err
	}
	if err := f.before.Follow(Transfer); err != nil {
		return err
	}
	if dst.Len() > 0 {
		if err := d.Feed(Transfer, dst.Addr(), host.Bytes()); err != nil {
			return err
		}
	}
	return f.tickets[i].Record(Transfer)
}

// Join makes the operations asked for from now on wait for a copy.
func (b *Backend) Join(t kernels.Ticket) {
	b.flush()
	b.do(func() error { return b.feeder.event(t).Follow(Compute) })
}

// Taken waits until the host memory of a copy may be changed.
func (b *Backend) Taken(t kernels.Ticket) {
	b.do(func() error { return b.feeder.event(t).Wait() })
}

func (f *feeder) event(t kernels.Ticket) Event { return f.tickets[int(t)%len(f.tickets)] }

// do calls the driver unless there was a fault, and keeps its error.
func (b *Backend) do(call func() error) {
	if b.fault == nil {
		b.fail(call())
	}
}

// pinned is the allocator of page-locked host memory.
type pinned struct{ d Driver }

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
