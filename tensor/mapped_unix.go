//go:build unix

package tensor

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps privately: unlike shared pages, private ones may be written to, and become copies. A model can so be
// changed in places (an adapter merged into it) without reading the rest, and no mistake can reach the file.
func mapFile(f *os.File, size int) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
}

func unmapFile(host []byte) error { return unix.Munmap(host) }
