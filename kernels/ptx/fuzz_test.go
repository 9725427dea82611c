package ptx

import "testing"

// Any text is either refused with a line or runs to an end, with findings or without: it never stops the program.
// go test -tags cpu -run XXX -fuzz Text ./kernels/ptx looks for more.
func FuzzText(f *testing.F) {
	f.Add(sound)
	for _, p := range programs {
		f.Add(wrap(p.body))
	}
	for _, p := range hopperPrograms {
		f.Add(wrap(p.body))
	}
	f.Fuzz(func(t *testing.T, src string) {
		runAny(src)
	})
}
