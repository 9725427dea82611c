package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// ptxCmd is the commands on PTX files: the instruction set, checker and interpreter of kernels/ptx for anyone who
// writes kernels.
type ptxCmd struct {
	Check ptxCheckCmd `cmd:"" help:"Find mistakes in a file and list its kernels; exit code 1 if there are any."`
	Run   ptxRunCmd   `cmd:"" help:"Run a kernel on the CPU under a sanitizer; exit code 1 if it finds anything."`
	Stats ptxStatsCmd `cmd:"" help:"Count a kernel's instructions and, after a run, its memory accesses."`
}

// maxPTX is the largest number of bytes that is read, far more than any PTX file has.
const maxPTX = 64 << 20

// readPTX reads and checks a file. Mistakes go to io.err, one a line, each with its place.
func readPTX(path string, io streams) (*syntax.Module, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: expected a file of PTX text, not a folder or a pipe", path)
	}
	if info.Size() > maxPTX {
		return nil, fmt.Errorf("%s: %d bytes: expected PTX text of at most %d", path, info.Size(), maxPTX)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	mod, mistakes := ptx.Check(string(b))
	for _, m := range mistakes {
		fmt.Fprintf(io.err, "%s:%d: %s\n", path, m.Line, m.Reason)
	}
	if len(mistakes) > 0 {
		return nil, fmt.Errorf("%s: %s", path, plural(len(mistakes), "mistake"))
	}
	if len(mod.Kernels) == 0 {
		return nil, fmt.Errorf("%s: no kernel: expected at least one .entry", path)
	}
	return mod, nil
}

// kernelOf finds a kernel by name; a file with a single kernel needs none.
func kernelOf(path string, mod *syntax.Module, name string) (*syntax.Kernel, error) {
	if name == "" && len(mod.Kernels) == 1 {
		return mod.Ordered()[0], nil
	}
	if k := mod.Kernels[name]; k != nil {
		return k, nil
	}
	var names []string
	for _, k := range mod.Ordered() {
		names = append(names, k.Name)
	}
	const most = 12
	if n := len(names) - most; n > 0 {
		names = append(names[:most], fmt.Sprintf("and %d more that dmx ptx check lists", n))
	}
	if name == "" {
		return nil, usageError{fmt.Errorf("--kernel: %s has %s: choose one of %s", path, plural(len(mod.Kernels), "kernel"), strings.Join(names, ", "))}
	}
	return nil, usageError{fmt.Errorf("--kernel: %s has no kernel %s; it has %s", path, name, strings.Join(names, ", "))}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// findingsOf returns the sanitizer's findings that the error of a launch holds, or else the error itself.
func findingsOf(err error) (ptx.Findings, error) {
	var found ptx.Findings
	if errors.As(err, &found) {
		return found, nil
	}
	return nil, err
}
