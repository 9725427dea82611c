package run

import (
	"bytes"
	"os"
	"runtime"
	"strconv"

	"github.com/shirou/gopsutil/v4/mem"
)

// memory reads how much of the machine's memory this process holds.
type memory struct {
	statm *os.File // Linux: resident pages; nil elsewhere
	buf   [128]byte
	total uint64 // 0 when the system does not tell
	peak  uint64 // largest value used has returned
}

func newMemory() *memory {
	m := &memory{}
	if v, err := mem.VirtualMemory(); err == nil {
		m.total = v.Total
	}
	m.statm, _ = os.Open("/proc/self/statm") // without it used asks the Go runtime
	return m
}

// used returns the resident set in bytes or, where the system has no /proc, the memory that the Go runtime holds.
func (m *memory) used() uint64 {
	n, ok := m.resident()
	if !ok {
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		n = s.Sys - s.HeapReleased
	}
	m.peak = max(m.peak, n)
	return n
}

// resident reads the second field of /proc/self/statm.
func (m *memory) resident() (uint64, bool) {
	if m.statm == nil {
		return 0, false
	}
	n, err := m.statm.ReadAt(m.buf[:], 0)
	if n == 0 && err != nil {
		return 0, false
	}
	fields := bytes.Fields(m.buf[:n])
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	return pages * uint64(os.Getpagesize()), err == nil
}

// memoryNow returns the bytes in use and in all, of the device that trains or, where it has no memory of its own, of this
// process.
func (s *session) memoryNow() (used, total uint64) {
	if !s.device.OwnMemory() {
		return s.memory.used(), s.memory.total
	}
	used, total = s.device.Memory()
	s.devicePeak = max(s.devicePeak, used)
	return used, total
}

// peakMemory returns the largest number of bytes in use that memoryNow has returned.
func (s *session) peakMemory() uint64 {
	if !s.device.OwnMemory() {
		return s.memory.peak
	}
	return s.devicePeak
}

func (m *memory) close() {
	if m.statm != nil {
		m.statm.Close()
	}
}
