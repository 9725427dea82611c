package main

import (
	"fmt"
	"strings"
	"testing"
)

// The table of a device has a line for each kernel family, with its version and the outcome.
func TestCheckDevice(t *testing.T) {
	if testing.Short() {
		t.Skip("interprets kernels")
	}
	var out strings.Builder
	line := func(name, format string, args ...any) { fmt.Fprintf(&out, name+" "+format+"\n", args...) }
	checkDevice(line, "emulated-cuda")
	for _, want := range []string{
		"matrix products            version 2", "attention                  version 2", "optimiser ", " right\n",
		" calls compared with the CPU in ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
}
