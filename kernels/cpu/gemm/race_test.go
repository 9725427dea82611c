//go:build race

package gemm

// raceEnabled makes tests run fewer cases: the float64 sums are twenty times slower under the race detector.
const raceEnabled = true
