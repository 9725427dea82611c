package kernels

import "github.com/dino-mx/dmx/tensor"

// Grouper is a Backend for which it is cheaper to be asked for many operations at once than one by one.
type Grouper interface {
	// Together performs f. Operations that f asks for may be held back until f is over, or until it reads a result;
	// they are done in their order and to the same bits. An operation may then find its fault only at the end.
	Together(f func())
}

// Feeder is a Backend whose device takes in data while it works.
type Feeder interface {
	// Pinned hands out host memory that Feed copies from fastest. It is safe for concurrent use.
	Pinned() tensor.Allocator
	// Feed starts to copy a host tensor to the device, after the operations asked for so far and beside those asked
	// for from now on. dst must not be used before Join, nor host be changed before Taken. Copies are done in order.
	Feed(dst, host *tensor.Tensor) Ticket
	// Join puts the operations asked for from now on after the copy.
	Join(t Ticket)
	// Taken waits until the copy is done, or has failed, as the next Sync says.
	Taken(t Ticket)
}

// Ticket stands for one copy of a Feeder. The latest eight are valid.
type Ticket uint64
