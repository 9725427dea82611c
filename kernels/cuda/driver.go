package cuda

// Driver is what the backend asks of a device. Addresses are device addresses; work is done in the order it was
// asked for. Calls are made from one goroutine at a time.
type Driver interface {
	// Info describes the device.
	Info() Info
	// Load makes the kernels of a PTX module ready. name is for messages.
	Load(name, ptx string) (Module, error)
	// Alloc reserves device memory, 256-byte aligned; Free gives it back; Memory tells what is free.
	Alloc(bytes int) (uint64, error)
	Free(addr uint64) error
	Memory() (free, total int)
	// CopyIn, CopyOut and Copy move bytes host to device, back, and inside the device. The first two wait.
	CopyIn(dst uint64, src []byte) error
	CopyOut(dst []byte, src uint64) error
	Copy(dst, src uint64, bytes int) error
	// TensorMap encodes m for kernels that take a map by value.
	TensorMap(m TensorMap) ([128]byte, error)
	// Launch asks for one kernel; it may return before the kernel has run.
	Launch(l *Launch) error
	// Sync waits until all work asked for is done and returns the first fault.
	Sync() error
	// Close gives the device back.
	Close() error
}

// Module finds kernels by name.
type Module interface {
	// Function prepares a kernel that may use up to shared bytes of dynamic shared memory.
	Function(name string, shared int) (Function, error)
}

// Function is a kernel of a loaded module.
type Function any

// Launch is one kernel launch. Args is the packed parameter buffer, laid out by the rules of C.
type Launch struct {
	Name        string
	Function    Function
	Grid, Block [3]int
	Shared      int
	Args        []byte
}

// Info is what the backend must know of a device.
type Info struct {
	Name            string
	Index           int
	Emulated        bool
	Major, Minor    int // compute capability
	SMs             int
	SharedPerBlock  int // bytes of dynamic shared memory a block may ask for
	TotalMemory     int
	DriverVersion   int
	ClockKHz        int
	MemoryClockKHz  int
	MemoryBusBits   int
	L2Bytes         int
	MaxThreadsPerSM int
}
