package queue

import "github.com/dino-mx/dmx/kernels/cuda/gpu"

// stream holds the events of work beside Compute. They are recycled: waiting for an old ticket waits for later work of
// the same stream, which is safe because a stream does its work in order.
type stream struct {
	before gpu.Event
	after  [8]gpu.Event
	next   uint64
}

// Ticket identifies work beside Compute. The latest eight of each stream are valid; an older one stands for later work.
type Ticket struct {
	Stream gpu.Stream
	N      uint64
}

// Beside has submit enqueue work on another stream than Compute, such as a collective on Communicate, and returns a
// ticket for it. The work starts after the commands added so far, whose segment ends here and is submitted, and runs
// beside those added from now on. What it reads must not be changed, and what it writes not be used, before OrderAfter.
func (q *Queue) Beside(s gpu.Stream, submit func() error) Ticket {
	st := &q.streams[s]
	t := Ticket{s, st.next}
	st.next++
	q.Flush()
	q.do(func() error { return st.enqueue(q.driver, t, submit) })
	return t
}

func (st *stream) enqueue(d gpu.Driver, t Ticket, submit func() error) (err error) {
	for _, e := range []*gpu.Event{&st.before, st.event(t)} {
		if *e == nil {
			if *e, err = d.NewEvent(); err != nil {
				return err
			}
		}
	}
	if err := st.before.Record(gpu.Compute); err != nil {
		return err
	}
	if err := st.before.Follow(t.Stream); err != nil {
		return err
	}
	if err := submit(); err != nil {
		return err
	}
	return (*st.event(t)).Record(t.Stream)
}

// Upload starts to copy page-locked host memory to the device beside the commands, and returns a ticket for the copy.
// Earlier commands may still read dst.
func (q *Queue) Upload(dst uint64, host []byte) Ticket {
	return q.Beside(gpu.Transfer, func() error {
		if len(host) == 0 {
			return nil
		}
		return q.driver.Feed(gpu.Transfer, dst, host)
	})
}

// OrderAfter makes the commands added from now on run after the work of a ticket. It ends the segment.
func (q *Queue) OrderAfter(t Ticket) {
	q.Flush()
	q.do(func() error { return (*q.streams[t.Stream].event(t)).Follow(gpu.Compute) })
}

// Wait blocks until the work of a ticket is done: for an upload, until the host memory may be changed.
func (q *Queue) Wait(t Ticket) {
	q.do(func() error { return (*q.streams[t.Stream].event(t)).Wait() })
}

func (st *stream) event(t Ticket) *gpu.Event { return &st.after[t.N%uint64(len(st.after))] }
