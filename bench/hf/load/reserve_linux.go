package main

import "golang.org/x/sys/unix"

// reserve is memory that is in use until a load needs it. A virtual machine's host takes free memory back within
// seconds and is slow in giving it anew (here 2 to 8 s a gigabyte, 20 times what a load takes), which would be all
// that is measured. Memory given free a moment ago is still there.
type reserve struct{ blocks [][]byte }

const reserveBlock = 64 << 20

// fill takes memory until it holds so many bytes, and touches it.
func (r *reserve) fill(bytes int) error {
	for len(r.blocks)*reserveBlock < bytes {
		host, err := unix.Mmap(-1, 0, reserveBlock, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return err
		}
		_ = unix.Madvise(host, unix.MADV_HUGEPAGE) // advice only
		for i := 0; i < len(host); i += 4096 {
			host[i] = 1
		}
		r.blocks = append(r.blocks, host)
	}
	return nil
}

// release gives so many bytes free, or all there are.
func (r *reserve) release(bytes int) error {
	for ; bytes > 0 && len(r.blocks) > 0; bytes -= reserveBlock {
		last := len(r.blocks) - 1
		if err := unix.Munmap(r.blocks[last]); err != nil {
			return err
		}
		r.blocks = r.blocks[:last]
	}
	return nil
}
