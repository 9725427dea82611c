package main

import "golang.org/x/sys/unix"

// reserve is memory that is in use until a load needs it. A virtual machine's host takes free memory back within
// seconds and is slow in giving it anew (here 2 to 8 s a gigabyte, 20 times what a load takes), which would be all
// that is measured. Memory given free a moment ago is still there.
type reserve struct{ host []byte }

// fill takes so many bytes and touches them.
func (r *reserve) fill(bytes int) error {
	host, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	_ = unix.Madvise(host, unix.MADV_HUGEPAGE) // advice only
	for i := 0; i < bytes; i += 4096 {
		host[i] = 1
	}
	r.host = host
	return nil
}

// release gives the bytes free.
func (r *reserve) release() error {
	host := r.host
	r.host = nil
	if host == nil {
		return nil
	}
	return unix.Munmap(host)
}
