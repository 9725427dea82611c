package main

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"os/exec"
	"time"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/tensor"
)

// firstKernel opens the device, runs one kernel, and says that it is done.
func firstKernel(device string) error {
	d, err := openDriver(device)
	if err != nil {
		return err
	}
	b := cuda.New(d, versions{})
	x, err := tensor.New(b.Allocator(), tensor.F32, 1)
	if err != nil {
		return err
	}
	b.Fill(x, 1)
	if err := b.Sync(); err != nil {
		return err
	}
	fmt.Println("done")
	return b.Close()
}

// untilLine is the time from the start of a process to its first line, in seconds.
func untilLine(cmd *exec.Cmd) (float64, error) {
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_, err = bufio.NewReader(out).ReadString('\n')
	took := time.Since(start)
	if waitErr := cmd.Wait(); waitErr != nil {
		return 0, waitErr
	}
	return took.Seconds(), err
}

// torchFirst is PyTorch's way to a first kernel.
const torchFirst = `
import sys, torch
torch.zeros(1, device=sys.argv[1])
if sys.argv[1] != "cpu": torch.cuda.synchronize()
print("done", flush=True)
`

// startSection is how long a process takes to its first kernel, and what launches cost.
func startSection(b *bench, t *table) error {
	t.title = "## Start and launch\n\n"
	t.printf("\nSeconds from the start of a process until its first kernel has run, medians of %d turns. Cold: an empty folder of the driver's cache of\ncompiled kernels. (Files are in the page cache either way.)\n\n| process | seconds |\n|---|---:|\n", b.rounds)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	run := func(cache string) (float64, error) {
		cmd := exec.Command(self, "-first-kernel", "-device", b.device)
		cmd.Env = append(os.Environ(), "CUDA_CACHE_PATH="+cache)
		return untilLine(cmd)
	}
	warmCache, err := os.MkdirTemp(b.scratch, "cache")
	if err != nil {
		return err
	}
	if _, err := run(warmCache); err != nil { // fills the cache
		return err
	}
	var cold, warm, other []float64
	for range b.rounds {
		empty, err := os.MkdirTemp(b.scratch, "cache")
		if err != nil {
			return err
		}
		for _, c := range []struct {
			cache string
			to    *[]float64
		}{{empty, &cold}, {warmCache, &warm}} {
			s, err := run(c.cache)
			if err != nil {
				return err
			}
			*c.to = append(*c.to, s)
		}
		if b.python == "" {
			continue
		}
		if s, err := untilLine(exec.Command(b.python, "-c", torchFirst, b.torchDevice())); err != nil {
			log.Printf("no PyTorch: %v", err)
		} else {
			other = append(other, s)
		}
	}
	t.printf("| dmx, cold | %.3f |\n| dmx, warm | %.3f |\n", peer.Median(cold), peer.Median(warm))
	if len(other) > 0 {
		t.printf("| python, import torch | %.3f |\n", peer.Median(other))
	}
	return b.launchCost(t)
}

// launchCost is the time of small launches, one by one and replayed as a graph.
func (b *bench) launchCost(t *table) error {
	g, err := b.open(versions{})
	if err != nil {
		return err
	}
	defer g.close()
	n := 10000
	if b.dry {
		n = 20
	}
	x, err := tensor.New(g.backend.Allocator(), tensor.F32, 1)
	if err != nil {
		return err
	}
	g.backend.Fill(x, 1)
	launches := func() {
		for range n {
			g.backend.Scale(x, 1)
		}
	}
	// measured gives the host's and the whole time of a launch in nanoseconds.
	measured := func(work func()) (host, all float64, err error) {
		if err := g.backend.Sync(); err != nil {
			return 0, 0, err
		}
		start := time.Now()
		work()
		host = float64(time.Since(start).Nanoseconds())
		err = g.backend.Sync()
		return host / float64(n), float64(time.Since(start).Nanoseconds()) / float64(n), err
	}
	p := b.torchKernels()
	if p != nil {
		defer p.Close()
	}
	rows := []struct {
		name string
		run  func() (float64, float64, error)
	}{
		{"dmx, one by one", func() (float64, float64, error) { return measured(launches) }},
		{"dmx, replayed", func() (float64, float64, error) { return measured(func() { g.backend.Submit(launches) }) }},
	}
	if p != nil {
		for _, way := range []string{"plain", "graph"} {
			rows = append(rows, struct {
				name string
				run  func() (float64, float64, error)
			}{"PyTorch, " + map[string]string{"plain": "x.mul_(1)", "graph": "CUDA graph"}[way], func() (float64, float64, error) {
				a, err := p.Ask("launches %d %s", n, way)
				if err != nil {
					return 0, 0, err
				}
				v, err := numbers(p, a, 2)
				if err != nil {
					return 0, 0, err
				}
				return v[0], v[1], nil
			}})
		}
	}
	t.printf("\nNanoseconds of a launch of a kernel of one element, %d in a row, medians: what the host spends, and until the device is done.\n\n| launches | host | done |\n|---|---:|---:|\n", n)
	host, all := make([][]float64, len(rows)), make([][]float64, len(rows))
	for round := range b.rounds + 3 {
		for i, r := range rows {
			h, a, err := r.run()
			if err != nil {
				log.Printf("%s: %v", r.name, err)
				continue
			}
			if round >= 3 { // the first rounds load, record and build graphs
				host[i], all[i] = append(host[i], h), append(all[i], a)
			}
		}
	}
	for i, r := range rows {
		if len(host[i]) > 0 {
			t.printf("| %s | %.0f | %.0f |\n", r.name, peer.Median(host[i]), peer.Median(all[i]))
		}
	}
	return nil
}
