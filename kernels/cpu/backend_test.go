package cpu

import (
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/kernels/optest"
	"github.com/dino-mx/dmx/tensor"
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

// The same bits come out of one thread and of several; calls_test.go does the same for larger shapes.
func TestDeterministic(t *testing.T) {
	var made []*Backend
	optest.Deterministic(t, func(threads int) kernels.Backend {
		b := New(Options{Threads: threads})
		made = append(made, b)
		return b
	}, optest.MaxWork(300_000))
	for _, b := range made {
		b.Close()
	}
}

func BenchmarkOperations(b *testing.B) {
	be := New(Options{})
	defer be.Close()
	optest.Benchmark(b, be, optest.Types(tensor.F32))
}
