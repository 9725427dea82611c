package run

import (
	"runtime/debug"
	"testing"
)

func TestMemoryFollowsAnAllocation(t *testing.T) {
	m := newMemory()
	defer m.close()
	// Pages that earlier tests freed would hold the new block without any growth.
	debug.FreeOSMemory()
	before := m.used()
	if before == 0 || m.total < before {
		t.Fatalf("%d of %d bytes", before, m.total)
	}
	block := make([]byte, 64<<20)
	for i := range block {
		block[i] = 1
	}
	if after := m.used(); after < before+32<<20 || m.peak < after {
		t.Errorf("%d bytes, after 64 MiB more %d, peak %d", before, after, m.peak)
	}
	if block[len(block)-1] != 1 {
		t.Fatal("unreachable")
	}
}
