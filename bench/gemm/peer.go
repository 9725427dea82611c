package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
)

//go:embed peers/openblas.c
var blasSource string

//go:embed peers/torch.py
var torchSource string

// library is another library in a process of its own. It answers "shape m n k transA transB threads" with "ok" and
// "time n" with nanoseconds.
type library struct{ *peer.Process }

func startBLAS(dir string, isa vec.ISA) (contestant, error) {
	src, bin := filepath.Join(dir, "peer.c"), filepath.Join(dir, "peer")
	if err := os.WriteFile(src, []byte(blasSource), 0o644); err != nil {
		return nil, err
	}
	if msg, err := exec.Command("gcc", "-O2", "-o", bin, src, "-lopenblas").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("gcc (install libopenblas-dev): %w: %s", err, strings.TrimSpace(string(msg)))
	}
	var env []string
	if isa == vec.AVX2 {
		env = append(env, "OPENBLAS_CORETYPE=Haswell")
	}
	p, err := peer.Start(exec.Command(bin), env...)
	return library{p}, err
}

func startTorch(dir, python string, isa vec.ISA) (contestant, error) {
	var env []string
	if isa == vec.AVX2 {
		env = append(env, "MKL_ENABLE_INSTRUCTIONS=AVX2", "ATEN_CPU_CAPABILITY=avx2", "ONEDNN_MAX_CPU_ISA=AVX2")
	}
	p, err := peer.StartPython(dir, python, torchSource, nil, env...)
	return library{p}, err
}

func (l library) name() string { return l.Name }

func (l library) prepare(s shape, threads int) error {
	bit := map[bool]int{true: 1}
	return l.Expect("shape %d %d %d %d %d %d", s.m, s.n, s.k, bit[s.transA], bit[s.transB], threads)
}

func (l library) time(n int) (time.Duration, error) {
	ns, err := l.Number("time %d", n)
	return time.Duration(ns), err
}

func (l library) close() { l.Close() }
