package ptx

import (
	"bytes"
	"fmt"
)

// Machine is an emulated device: memory, schedule and limits. It belongs to one goroutine.
type Machine struct {
	// Seed chooses the order in which blocks and warps run.
	Seed uint64
	// Counters of every kernel launched since the last reset, by kernel name.
	Counters map[string]*Counters
	// MaxInstructions stops a launch that executes more warp instructions, which is taken for an endless loop.
	MaxInstructions int64
	// SharedPerBlock is the dynamic plus static shared memory in bytes that one block may have.
	SharedPerBlock int

	heap     heap
	launches uint32
	time     uint32 // counts synchronisation events, over all launches
}

// NewMachine makes an emulated device with the given bytes of memory.
func NewMachine(memory int) *Machine {
	return &Machine{Counters: map[string]*Counters{}, MaxInstructions: 1 << 34, SharedPerBlock: SharedLimit, heap: heap{limit: memory}, time: 1}
}

// Alloc reserves n bytes of device memory with undefined content.
func (m *Machine) Alloc(n int) (uint64, error) { return m.heap.alloc(n) }

// Free gives an allocation back.
func (m *Machine) Free(addr uint64) error { return m.heap.free(addr) }

// InUse is the number of bytes allocated, Limit the size of the memory.
func (m *Machine) InUse() int { return m.heap.used }

// Limit is the size of the device memory in bytes.
func (m *Machine) Limit() int { return m.heap.limit }

// Write copies host bytes to device memory; Read the other way.
func (m *Machine) Write(addr uint64, b []byte) error { return m.heap.copyIn(addr, b) }

// Read copies device memory to the host.
func (m *Machine) Read(b []byte, addr uint64) error { return m.heap.copyOut(b, addr) }

// Unwritten is how many of n bytes of device memory neither the host nor a kernel has written.
func (m *Machine) Unwritten(addr uint64, n int) (int, error) {
	a := m.heap.find(addr, n)
	if a == nil {
		return 0, fmt.Errorf("ptx: %d bytes at %#x are out of bounds (%s)", n, addr, m.heap.describe(addr))
	}
	off := addr - a.base
	return bytes.Count(a.init[off:off+uint64(n)], []byte{0}), nil
}

// Fill sets n bytes of device memory to v.
func (m *Machine) Fill(addr uint64, v byte, n int) error {
	b := make([]byte, n)
	for i := range b {
		b[i] = v
	}
	return m.heap.copyIn(addr, b)
}

// Copy copies n bytes inside device memory.
func (m *Machine) Copy(dst, src uint64, n int) error {
	b := make([]byte, n)
	if err := m.heap.copyOut(b, src); err != nil {
		return err
	}
	return m.heap.copyIn(dst, b)
}
