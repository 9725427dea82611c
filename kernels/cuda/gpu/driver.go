// Package gpu declares what a backend needs of a CUDA device: Driver, streams, events, graphs, tensor maps. It holds
// types only; kernels/cuda/driver, kernels/cuda/drivertest and kernels/ptx implement them. It must not know which
// kernels there are.
package gpu

import (
	"errors"
	"fmt"
)

// Driver is the set of calls that a backend makes to one CUDA device. Addresses are device addresses. Work on a stream
// is done in the order it was submitted; events order the streams among each other. Calls are made from one goroutine at
// a time, from any thread.
//
// An error that wraps ErrOutOfMemory leaves the device usable. One that wraps ErrFault may be the fault of any
// kernel submitted earlier, whatever call returns it.
type Driver interface {
	// Info describes the device.
	Info() Info
	// Load makes the kernels of a PTX module ready. name is for messages.
	Load(name, ptx string) (Module, error)
	// Alloc allocates device memory, 256-byte aligned. Free frees memory that no submitted work uses any more. Memory
	// returns the free and the total bytes of the device.
	Alloc(bytes int) (uint64, error)
	Free(addr uint64) error
	Memory() (free, total int)
	// Pin allocates page-locked host memory, which the device copies from while the host goes on; Unpin frees it.
	Pin(bytes int) ([]byte, error)
	Unpin(p []byte) error
	// CopyIn and CopyOut move bytes host to device and back, on Compute, and wait. Copy moves bytes inside the device.
	CopyIn(dst uint64, src []byte) error
	CopyOut(dst []byte, src uint64) error
	Copy(dst, src uint64, bytes int) error
	// Feed submits a copy from page-locked memory to a stream and returns at once. src must not be changed until the
	// stream has passed the copy.
	Feed(s Stream, dst uint64, src []byte) error
	// TensorMap encodes m for kernels that take a map by value.
	TensorMap(m TensorMap) ([128]byte, error)
	// Launch submits one kernel to Compute and may return before the kernel has run.
	Launch(l *Launch) error
	// NewGraph makes a graph of commands that run one after another. Nothing runs yet.
	NewGraph(cs []Command) (Graph, error)
	// NewEvent returns a new event, which lives as long as the driver.
	NewEvent() (Event, error)
	// Sync waits until all submitted work is done and returns the first fault.
	Sync() error
	// Close releases the device.
	Close() error
}

// What an error of a Driver may wrap.
var (
	ErrOutOfMemory = errors.New("out of device memory")
	ErrFault       = errors.New("a kernel failed")
	// ErrGraph is returned by a Graph that cannot be changed to the commands it is given.
	ErrGraph = errors.New("the graph cannot take these commands")
)

// Stream is a queue of work of a device. Work on one stream is done in order; events order the streams.
type Stream uint8

// The streams: Compute for kernels and everything they depend on, Transfer for copies that run beside them,
// Communicate for collectives, which exchange data with other devices.
const (
	Compute Stream = iota
	Transfer
	Communicate

	Streams = int(iota) // the number of streams
)

// Event is a point in the work of a stream.
type Event interface {
	// Record moves the event behind all work submitted to s so far.
	Record(s Stream) error
	// Follow makes the work submitted to s from now on wait for the event as it is now (cuStreamWaitEvent).
	Follow(s Stream) error
	// Wait blocks the host until the event is reached. An event that was never recorded is over.
	Wait() error
}

// Command is one entry of a Graph: a kernel, or a copy.
type Command struct {
	Kind     Kind
	Launch   Launch
	Dst, Src uint64 // of a copy
	Host     []byte // of FeedCommand: pinned, as for Feed
	Bytes    int    // of CopyCommand
}

// Kind says what a Command does.
type Kind uint8

// The kinds of command.
const (
	LaunchCommand Kind = iota
	FeedCommand
	CopyCommand
)

// Graph is a sequence of commands that is submitted in one call.
type Graph interface {
	// Launch submits all commands to Compute, in order. cs has as many commands as the graph, each of its old kind;
	// changed lists the indices of those that differ from the last launch, and only they are read. Earlier launches
	// are not affected. An error that wraps ErrGraph says that nothing was submitted; a *CommandError says which
	// command failed.
	Launch(cs []Command, changed []int) error
	Close() error
}

// CommandError is the error of one command of a graph.
type CommandError struct {
	Index int
	Err   error
}

func (e *CommandError) Error() string { return fmt.Sprintf("command %d: %v", e.Index, e.Err) }

func (e *CommandError) Unwrap() error { return e.Err }

// Module finds kernels by name.
type Module interface {
	// Function prepares a kernel that may use up to shared bytes of dynamic shared memory.
	Function(name string, shared int) (Function, error)
}

// Function is a kernel of a loaded module.
type Function any

// Launch is one kernel launch. Args holds the bytes of all parameters; that number i of the kernel's begins at
// Params[i]. Where it lies on the device is the driver's affair: that depends on the alignment of each parameter and on
// the compute capability.
type Launch struct {
	Name        string
	Function    Function
	Grid, Block [3]int
	Shared      int
	Args        []byte
	Params      []uint32
}

// Info describes a device.
type Info struct {
	Name            string
	Index           int
	Emulated        bool
	Major, Minor    int // compute capability
	SMs             int
	SharedPerBlock  int // most bytes of dynamic shared memory of a block
	TotalMemory     int
	DriverVersion   int
	ClockKHz        int
	MemoryClockKHz  int
	MemoryBusBits   int
	L2Bytes         int
	MaxThreadsPerSM int
}
