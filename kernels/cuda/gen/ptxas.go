package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// The columns of the table. PTX for sm_80 runs on all but the last, which is for PTX that runs nowhere else.
var architectures = []string{"sm_80", "sm_86", "sm_89", "sm_90", "sm_90a"}

var (
	compiling = regexp.MustCompile(`Compiling entry function '(\w+)'`)
	spills    = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	used      = regexp.MustCompile(`Used (\d+) registers`)
	shared    = regexp.MustCompile(`(\d+) bytes smem`)
)

// assemble runs ptxas on every committed file for every architecture and makes the table.
func assemble(check bool, ptxas, table string) error {
	dir := "ptx"
	if _, err := os.Stat(dir); err != nil {
		dir = "kernels/cuda/ptx"
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.ptx"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no PTX in %s", dir)
	}
	rows := map[string][]string{} // kernel -> registers by architecture
	static := map[string]string{}
	var spilled []string
	for i, arch := range architectures {
		for _, f := range files {
			if strings.HasSuffix(f, ".sm_90a.ptx") != (arch == "sm_90a") {
				continue
			}
			cmd := exec.Command(ptxas, "-v", "-arch="+arch, f, "-o", os.DevNull)
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%s for %s: %w\n%s", f, arch, err, out)
			}
			if bytes.Contains(out, []byte("wgmma.mma_async instructions are serialized")) {
				return fmt.Errorf("%s for %s: the products of a warpgroup wait for each other:\n%s", f, arch, out)
			}
			kernel := ""
			for _, line := range strings.Split(string(out), "\n") {
				if m := compiling.FindStringSubmatch(line); m != nil {
					kernel = m[1]
					if rows[kernel] == nil {
						rows[kernel] = make([]string, len(architectures))
					}
				}
				if m := spills.FindStringSubmatch(line); m != nil && (m[2] != "0" || m[3] != "0") {
					spilled = append(spilled, kernel+" on "+arch)
				}
				if m := used.FindStringSubmatch(line); m != nil && kernel != "" {
					rows[kernel][i] = m[1]
					static[kernel] = "0"
					if s := shared.FindStringSubmatch(line); s != nil {
						static[kernel] = s[1]
					}
				}
			}
		}
	}
	if len(spilled) > 0 {
		return fmt.Errorf("registers are spilled: %s", strings.Join(spilled, ", "))
	}
	version, err := exec.Command(ptxas, "--version").Output()
	if err != nil {
		return err
	}
	text := render(rows, static, lastLine(version))
	if !check {
		return os.WriteFile(table, text, 0o644)
	}
	if have, err := os.ReadFile(table); err != nil || !bytes.Equal(have, text) {
		return fmt.Errorf("%s is not what ptxas says; run: just ptxas", table)
	}
	return nil
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

func render(rows map[string][]string, static map[string]string, version string) []byte {
	names := make([]string, 0, len(rows))
	for n := range rows {
		names = append(names, n)
	}
	sort.Strings(names)
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Registers of the CUDA kernels\n\nWritten by `just ptxas` (%s). No kernel spills. Shared memory is the static part. Kernels of sm_90a\nchange their number of registers while they run; the number is that at their start.\n\n", version)
	fmt.Fprintf(&b, "| kernel | %s | shared bytes |\n|---|%s---:|\n", strings.Join(architectures, " | "), strings.Repeat("---:|", len(architectures)))
	for _, n := range names {
		for i, r := range rows[n] {
			if r == "" {
				rows[n][i] = "-" // not for this architecture
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", n, strings.Join(rows[n], " | "), static[n])
	}
	return b.Bytes()
}
