package drivertest

import "github.com/dino-mx/dmx/kernels/cuda/gpu"

// Garbage is a driver of a device whose results are bytes of ones, which are NaN in every float type, while On. No call
// reports a fault.
type Garbage struct {
	gpu.Driver
	On bool
}

// CopyOut copies from the device, or gives garbage.
func (d *Garbage) CopyOut(dst []byte, src uint64) error {
	err := d.Driver.CopyOut(dst, src)
	if d.On {
		for i := range dst {
			dst[i] = 0xff
		}
	}
	return err
}
