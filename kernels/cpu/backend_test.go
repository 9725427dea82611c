package cpu

import (
	"testing"

	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/kernels/optest"
)

// eachISA runs a test once for every instruction set this machine has.
func eachISA(t *testing.T, f func(t *testing.T)) {
	for i := vec.Generic; i <= vec.Best; i++ {
		t.Run(i.String(), func(t *testing.T) {
			defer vec.Use(vec.Use(i))
			f(t)
		})
	}
}

func TestOperations(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		b := New(Options{Threads: 2})
		defer b.Close()
		optest.Run(t, b)
	})
}
