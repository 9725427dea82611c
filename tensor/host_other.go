//go:build !linux

package tensor

import "unsafe"

func hostAlloc(bytes int) ([]byte, error) {
	raw := make([]byte, bytes+63)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(raw))) & 63)
	return raw[off : off+bytes : off+bytes], nil
}

func hostFree(*Buffer) {}
