package tensor

import "fmt"

// DeviceKind says what sort of memory a buffer lies in.
type DeviceKind uint8

// The kinds of device. EmulatedCUDA memory belongs to the PTX interpreter: it has device addresses like CUDA
// memory and is reached only through its driver.
const (
	CPU DeviceKind = iota
	CUDA
	EmulatedCUDA
)

// Device names one memory space: the host, or one accelerator.
type Device struct {
	Kind  DeviceKind
	Index int
}

// String prints the device as the command line spells it: "cpu", "cuda:0", "emulated-cuda:0".
func (d Device) String() string {
	switch d.Kind {
	case CPU:
		return "cpu"
	case CUDA:
		return fmt.Sprintf("cuda:%d", d.Index)
	default:
		return fmt.Sprintf("emulated-cuda:%d", d.Index)
	}
}
