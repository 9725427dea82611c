//go:build unix

package tensor

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps the file privately: a page that is written to becomes a copy. A model can be changed in places, such as
// by merging an adapter, without reading the rest, and no bug can change the file.
func mapFile(f *os.File, size int) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
}

func unmapFile(host []byte) error { return unix.Munmap(host) }
