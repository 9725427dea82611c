package main

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dino-mx/dmx/kernels/cpu/vec"
)

//go:embed peers/openblas.c
var blasSource string

//go:embed peers/torch.py
var torchSource string

// peer is another library in a process of its own. It answers one line to each line: "shape m n k transA transB
// threads" with "ok", "time n" with nanoseconds, and says its name and version first.
type peer struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	title string
}

func startBLAS(dir string, isa vec.ISA) (*peer, error) {
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
	return startPeer(exec.Command(bin), env)
}

func startTorch(dir, python string, isa vec.ISA) (*peer, error) {
	if python == "" {
		return nil, errors.New("no --python and no $PYTHON")
	}
	src := filepath.Join(dir, "peer.py")
	if err := os.WriteFile(src, []byte(torchSource), 0o644); err != nil {
		return nil, err
	}
	// Large pages, as our tensors have.
	env := []string{"THP_MEM_ALLOC_ENABLE=1"}
	if isa == vec.AVX2 {
		env = append(env, "MKL_ENABLE_INSTRUCTIONS=AVX2", "ATEN_CPU_CAPABILITY=avx2", "ONEDNN_MAX_CPU_ISA=AVX2")
	}
	return startPeer(exec.Command(python, src), env)
}

func startPeer(cmd *exec.Cmd, env []string) (*peer, error) {
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &peer{cmd: cmd, in: in, out: bufio.NewScanner(out)}
	if p.title, err = p.answer(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *peer) name() string { return p.title }

func (p *peer) answer() (string, error) {
	if !p.out.Scan() {
		return "", fmt.Errorf("%s ended without an answer", filepath.Base(p.cmd.Path))
	}
	return p.out.Text(), nil
}

func (p *peer) ask(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		return "", err
	}
	return p.answer()
}

func (p *peer) prepare(s shape, threads int) error {
	bit := map[bool]int{true: 1}
	a, err := p.ask("shape %d %d %d %d %d %d", s.m, s.n, s.k, bit[s.transA], bit[s.transB], threads)
	if err == nil && a != "ok" {
		err = fmt.Errorf("%s: %s", p.title, a)
	}
	return err
}

func (p *peer) time(n int) (time.Duration, error) {
	a, err := p.ask("time %d", n)
	if err != nil {
		return 0, err
	}
	var ns int64
	if _, err := fmt.Sscan(a, &ns); err != nil {
		return 0, fmt.Errorf("%s: answered %q to time", p.title, a)
	}
	return time.Duration(ns), nil
}

func (p *peer) close() {
	p.in.Close()
	p.cmd.Wait()
}
