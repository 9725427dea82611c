package optest

import (
	"testing"

	"github.com/dino-mx/dmx/kernels/ref"
)

// The oracle's speed decides how large the table may be.
func BenchmarkRef(b *testing.B) { Benchmark(b, ref.New(), MaxWork(20_000_000)) }
