//go:build !noasm

package pool

// pause tells the processor that this is a spin loop: it frees execution resources for a while.
func pause()
