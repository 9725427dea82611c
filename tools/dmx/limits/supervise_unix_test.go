//go:build unix

package limits

import (
	"strings"
	"testing"
)

func TestDumpsOfTheRuntimeAreRecognised(t *testing.T) {
	for dump, want := range map[string]string{
		"runtime: failed to create new OS thread (have 7 already; errno=11)\n":                                      "threads",
		"runtime/cgo: pthread_create failed: Resource temporarily unavailable\nSIGABRT: abort\n":                    "threads",
		"runtime: out of memory: cannot allocate 4194304-byte block (3735552 in use)\nfatal error: out of memory\n": "memory",
		"fatal error: failed to reserve page summary memory\n":                                                      "memory",
		"panic: runtime error: index out of range [3] with length 3\n":                                              "",
		"": "",
	} {
		if got := exhausted(dump); got != want {
			t.Errorf("%q: %q, want %q", dump, got, want)
		}
	}
}

func TestHeadKeepsTheFirst64KiB(t *testing.T) {
	var h head
	for range 100 {
		if n, err := h.Write([]byte(strings.Repeat("x", 1000))); n != 1000 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if h.Len() != 64<<10 {
		t.Errorf("%d bytes are kept", h.Len())
	}
}
