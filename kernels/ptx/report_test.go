package ptx

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/cpuid/v2"
)

// emulation asks for the full form of the tests, every case on three schedules, and for a report of what they showed:
// just emulation writes bench/emulation.md.
var emulation = flag.String("emulation", "", "run the full form and write its figures to this file")

// Full tells the tests to leave nothing out.
func Full() bool { return *emulation != "" }

// figures are the sections of the report, by title.
var figures struct {
	sync.Mutex
	text map[string]string
}

// sections is their order.
var sections = []string{"Operations", "Kernels", "Faults", "Faults in GEMM version 3", "Faults in a product kernel for Hopper", "Instructions", "Traffic"}

// Figure keeps a section of the report.
func Figure(title, text string) {
	figures.Lock()
	defer figures.Unlock()
	if figures.text == nil {
		figures.text = map[string]string{}
	}
	figures.text[title] = text
}

func TestMain(m *testing.M) {
	start := time.Now()
	flag.Parse()
	code := m.Run()
	if Full() && code == 0 {
		if err := writeReport(*emulation, time.Since(start)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// writeReport wants every section: a report of a part would look like one of the whole.
func writeReport(path string, took time.Duration) error {
	var b strings.Builder
	fmt.Fprintf(&b, `# The CUDA kernels without a GPU

Written by: just emulation
On: %s, GOMAXPROCS %d, %s, %s, in %d s

What the shipped PTX does when kernels/ptx executes it, instruction by instruction, under its sanitizer. A finding is a race, an
access out of bounds or misaligned, a read of what nobody wrote, a wrong barrier or mask, or a deadlock.
`, cpuid.CPU.BrandName, runtime.GOMAXPROCS(0), runtime.Version(), time.Now().UTC().Format("2006-01-02"), int(took.Seconds()))
	for _, title := range sections {
		text, ok := figures.text[title]
		if !ok {
			return fmt.Errorf("%s is not written: the test that fills section %s has not run", path, title)
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s", title, text)
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
