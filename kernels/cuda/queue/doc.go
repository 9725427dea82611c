// Package queue hands the work of a backend to a CUDA device: launches and copies one by one, or a batch of them as a
// replayed graph; small uploads through page-locked staging memory; large ones beside the computation; and it keeps
// the first fault until the next Sync.
//
// It talks to the device through gpu.Driver. It must not know which operation a kernel performs.
package queue
