// Command gen compiles kernels/cuda/src/*.cu to PTX with clang. The PTX is committed, so that building dmx
// needs no compiler but Go; the repository's checks fail when it does not match its source.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run compiles every source of kernels/cuda/src into the folder given as argument, ptx by default. It is started
// in kernels/cuda (go generate does that).
func run() error {
	out := "ptx"
	if len(os.Args) > 1 {
		out = os.Args[1]
	}
	sources, err := filepath.Glob("src/*.cu")
	if err != nil {
		return err
	}
	if len(sources) == 0 {
		return fmt.Errorf("no sources in src; start it in kernels/cuda")
	}
	for _, src := range sources {
		name := strings.TrimSuffix(filepath.Base(src), ".cu")
		to := filepath.Join(out, name+".sm_80.ptx")
		cmd := exec.Command("clang-19", "-x", "cuda", "--cuda-device-only", "-S", "-nocudainc", "-nocudalib", "--cuda-feature=+ptx83",
			"--cuda-gpu-arch=sm_80", "-O3", "-std=c++17", "-Werror", "-Wno-pass-failed", src, "-o", to)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", src, err)
		}
	}
	return nil
}
