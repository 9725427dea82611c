// Command gen compiles kernels/cuda/src/*.cu to PTX with clang: files named *_sm90.cu for sm_90a, the others for sm_80.
// The PTX is committed, so that building dmx needs no compiler but Go.
//
//	gen                     write ptx/*.ptx
//	gen -check              fail if a committed file is not what its source compiles to
//	gen -ptxas PTXAS -table FILE   assemble every file for every architecture that runs it and write registers and
//	                        shared memory of each kernel; with -check compare with FILE instead. A spill fails, and
//	                        so do products of a warpgroup that ptxas makes wait for each other.
//
// It is started in kernels/cuda (go generate does that) or at the root of the repository.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	check := flag.Bool("check", false, "compare with the committed files instead of writing them")
	ptxas := flag.String("ptxas", "", "path of NVIDIA's ptxas; makes the table of registers")
	table := flag.String("table", "", "file of the table of registers")
	flag.Parse()
	if err := run(*check, *ptxas, *table); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(check bool, ptxas, table string) error {
	if ptxas != "" {
		return assemble(check, ptxas, table)
	}
	if _, err := os.Stat("src"); err != nil {
		if err := os.Chdir("kernels/cuda"); err != nil {
			return fmt.Errorf("start it in kernels/cuda or at the root of the repository: %w", err)
		}
	}
	sources, err := filepath.Glob("src/*.cu")
	if err != nil {
		return err
	}
	if len(sources) == 0 {
		return fmt.Errorf("no sources in src")
	}
	var stale []string
	for _, src := range sources {
		name := strings.TrimSuffix(filepath.Base(src), ".cu")
		arch := "sm_80"
		if strings.HasSuffix(name, "_sm90") {
			arch = "sm_90a"
		}
		ptx, err := compile(src, arch)
		if err != nil {
			return fmt.Errorf("%s: %w", src, err)
		}
		to := filepath.Join("ptx", name+"."+arch+".ptx")
		if !check {
			if err := os.WriteFile(to, ptx, 0o644); err != nil {
				return err
			}
			continue
		}
		if have, err := os.ReadFile(to); err != nil || !bytes.Equal(have, ptx) {
			stale = append(stale, to)
		}
	}
	if len(stale) > 0 {
		return fmt.Errorf("%s: not what the sources compile to; run: go generate ./kernels/cuda", strings.Join(stale, ", "))
	}
	return nil
}

// compile returns the PTX of one source. Lines that name the compiler's build are not part of it.
func compile(src, arch string) ([]byte, error) {
	cmd := exec.Command("clang-19", "-x", "cuda", "--cuda-device-only", "-S", "-nocudainc", "-nocudalib", "--cuda-feature=+ptx83",
		"--cuda-gpu-arch="+arch, "-O3", "-std=c++17", "-Werror", "-Wno-pass-failed", src, "-o", "-")
	cmd.Stderr = os.Stderr
	return cmd.Output()
}
