package syntax

// Limits of what a file may ask for, so that a damaged one cannot take the memory of the machine. The first two are
// those of the hardware.
const (
	maxParams = 32764     // bytes of kernel parameters
	maxLocal  = 512 << 10 // bytes of local memory of a thread
	maxRegs   = 1 << 16   // registers a kernel declares
	maxVar    = 1 << 32   // bytes of a variable
	maxInit   = 1 << 26   // bytes of a variable with an initialiser
)
