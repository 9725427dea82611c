//go:build !linux || !cgo || cpu

package driver

import (
	"errors"

	"github.com/dino-mx/dmx/kernels/cuda/gpu"
)

var errWithout = errors.New("this dmx was built without CUDA (-tags cpu, or without cgo)")

// Count says that this build has no GPU support.
func Count() (int, error) { return 0, errWithout }

// Open says that this build has no GPU support.
func Open(int) (gpu.Driver, error) { return nil, errWithout }
