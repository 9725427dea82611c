package main

import (
	_ "embed"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/dino-mx/dmx/bench/peer"
)

//go:embed peers/kernels.py
var kernelsSource string

//go:embed peers/dinov2.py
var stepSource string

// torchDevice is the device as PyTorch spells it.
func (b *bench) torchDevice() string {
	if b.dry {
		return "cpu"
	}
	return b.device
}

// startTorch runs one of the scripts in a process of its own, or says why it cannot and returns nil: dmx is then
// measured alone.
func (b *bench) startTorch(source string, args ...string) *peer.Process {
	if b.python == "" {
		log.Print("no PyTorch: no -python and no $PYTHON")
		return nil
	}
	dir, err := os.MkdirTemp(b.scratch, "peer")
	if err == nil {
		var p *peer.Process
		if p, err = peer.StartPython(dir, b.python, source, append([]string{b.torchDevice()}, args...)); err == nil {
			b.table.against(p.Name)
			return p
		}
	}
	log.Printf("no PyTorch: %s %s: %v", filepath.Base(b.python), strings.Join(args, " "), err)
	return nil
}

// torchKernels starts the peer of the kernel sections.
func (b *bench) torchKernels() *peer.Process {
	return b.startTorch(kernelsSource, fmt.Sprint(b.flushBytes()))
}

// torch is the case that a peer was last prepared for, carried out in one of the ways it has.
type torch struct {
	process *peer.Process
	way     string
}

func (t torch) sample(n int) ([]float64, error) {
	a, err := t.process.Ask("time %d %s", n, t.way)
	if err != nil {
		return nil, err
	}
	return numbers(t.process, a, n)
}

// numbers reads n numbers from an answer.
func numbers(p *peer.Process, answer string, n int) ([]float64, error) {
	fields := strings.Fields(answer)
	v := make([]float64, 0, n)
	for _, f := range fields {
		var x float64
		if _, err := fmt.Sscan(f, &x); err != nil {
			return nil, fmt.Errorf("%s: %s", p.Name, answer)
		}
		v = append(v, x)
	}
	if len(v) != n {
		return nil, fmt.Errorf("%s: %d numbers wanted, answered %q", p.Name, n, answer)
	}
	return v, nil
}

// prepare asks a peer for a case; the answer begins with ok and may go on.
func prepare(p *peer.Process, format string, args ...any) (string, error) {
	a, err := p.Ask(format, args...)
	if err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(a, "ok")
	if !ok {
		return "", fmt.Errorf("%s: %s", p.Name, a)
	}
	return strings.TrimSpace(rest), nil
}
