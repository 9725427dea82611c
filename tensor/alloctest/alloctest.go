// Package alloctest measures, in tests, the heap memory that reading an input of a given size asks for: a few bytes
// that claim to be terabytes must not be believed.
package alloctest

import (
	"runtime"
	"testing"
)

// Limit calls f and fails the test if it allocated more than base + perByte·input bytes of heap, counted over the
// whole call whether or not they were freed again.
func Limit(t *testing.T, input, base, perByte int, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if used, limit := after.TotalAlloc-before.TotalAlloc, uint64(base+perByte*input); used > limit {
		t.Fatalf("an input of %d bytes made the reader allocate %d bytes, more than %d + %d a byte", input, used, base, perByte)
	}
}
