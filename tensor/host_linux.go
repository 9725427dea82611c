//go:build linux

package tensor

import (
	"syscall"
	"unsafe"
)

// hugeThreshold is the size in bytes from which a block is mapped on its own with huge pages. Activations are read in
// long rows, and with 4 KiB pages address translation takes a noticeable share of a step.
const hugeThreshold = 4 << 20

func hostAlloc(bytes int) ([]byte, error) {
	if bytes < hugeThreshold {
		return alignedSlice(bytes), nil
	}
	b, err := syscall.Mmap(-1, 0, bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	_ = syscall.Madvise(b, 14) // MADV_HUGEPAGE: advice only, a kernel without it loses nothing but speed
	return b, nil
}

func hostFree(b *Buffer) {
	if b.Size >= hugeThreshold && b.Host != nil {
		_ = syscall.Munmap(b.Host)
	}
}

func alignedSlice(bytes int) []byte {
	raw := make([]byte, bytes+63)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(raw))) & 63)
	return raw[off : off+bytes : off+bytes]
}
