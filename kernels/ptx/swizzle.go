package ptx

// swizzled permutes the 16-byte pieces of shared memory: address bits 4 to 6 are combined by exclusive or with bits 7
// to 9, as many of them as span (32, 64 or 128 bytes; 0 changes nothing) has. It is its own inverse.
func swizzled(addr uint64, span int) uint64 {
	if span == 0 {
		return addr
	}
	return addr ^ addr>>3&uint64(span-16)
}
