//go:build linux && cgo && !cpu

// Package stubs defines the symbols of the CUDA driver library, so that a binary links and starts without it, and
// loads the real library on demand. It must not know what the driver is used for.
package stubs

//#cgo LDFLAGS: -L${SRCDIR}/../link -ldl
//int dmx_cuda_open(const char **message);
import "C"

import (
	"errors"
	"fmt"
	"sync"
)

var open = sync.OnceValue(func() error {
	var message *C.char
	switch rc := C.dmx_cuda_open(&message); rc {
	case 0:
		return nil
	case -1:
		return errors.New("no NVIDIA driver: " + C.GoString(message))
	case 100:
		return errors.New("the NVIDIA driver found no GPU (CUDA_ERROR_NO_DEVICE)")
	default:
		return fmt.Errorf("the NVIDIA driver does not start: cuInit returned %d", int(rc))
	}
})

// Open loads and starts the driver once; the error says why there is none.
func Open() error { return open() }
