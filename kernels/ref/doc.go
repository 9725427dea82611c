// Package ref is the oracle: every operation of kernels.Backend in plain Go, by its formula, in float64.
//
// It is what optest compares the other backends with, and what finite differences are taken of. On f64 tensors it
// is float64 from end to end; on f32 and bf16 tensors it computes in float64 and rounds once, where a result is
// stored. It is written to be obviously right: one loop per formula, one thread, nothing fused, nothing blocked.
//
// It must not know how another backend computes, and it imports none.
package ref
