package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// single is the emulated device with one multiprocessor, whose blocks work on several tiles each.
type single struct{ gpu.Driver }

func (d single) Info() gpu.Info {
	i := d.Driver.Info()
	i.SMs = 1
	return i
}

// epilogue is what is done to a product in a transformer block.
type epilogue struct {
	name string
	add  func(e *emulated, g *kernels.Gemm)
}

var epilogues = []epilogue{
	{"none", func(*emulated, *kernels.Gemm) {}},
	{"bias (qkv)", func(e *emulated, g *kernels.Gemm) { g.Bias = e.random(tensor.F32, g.N) }},
	{"bias, gamma, residual (proj, fc2)", func(e *emulated, g *kernels.Gemm) {
		g.Bias, g.Gamma, g.Residual = e.random(tensor.F32, g.N), e.random(tensor.F32, g.N), e.random(tensor.BF16, g.M, g.N)
	}},
	{"bias, value before it, GELU (fc1)", func(e *emulated, g *kernels.Gemm) {
		g.Bias, g.Pre, g.Act = e.random(tensor.F32, g.N), e.random(tensor.BF16, g.M, g.N), kernels.GELU
	}},
	{"gradient of GELU (fc2 dx)", func(e *emulated, g *kernels.Gemm) {
		g.GradOf, g.ActGrad = e.random(tensor.BF16, g.M, g.N), kernels.GELU
	}},
}

// emulated is a backend on the interpreter. Its first error is kept.
type emulated struct {
	*cuda.Backend
	driver *ptx.Driver
	seed   uint32
	err    error
}

func newEmulated(version int) *emulated {
	d := ptx.NewHopperDriver(1<<28, 1)
	return &emulated{Backend: cuda.New(single{d}, cuda.Versions{Gemm: version}), driver: d}
}

func (e *emulated) random(dtype tensor.DType, shape ...int) *tensor.Tensor {
	host := tensor.Zeros(dtype, shape...)
	e.seed++
	r := tensor.NewRand(5, e.seed, 0, 1<<24)
	for i := range host.Len() {
		host.Set(i, r.Norm())
	}
	t, err := tensor.New(e.Allocator(), dtype, shape...)
	if err != nil {
		e.err = err
		return host
	}
	e.Upload(t, host)
	return t
}

// counted is what a kernel did for a product.
type counted struct {
	kernel                   string
	instructions, wavefronts float64
	sectors, moved           float64 // of 32 bytes that requests touched; different bytes read and written
}

// count runs an NT product of version on the interpreter.
func count(version, m, n, k int, p epilogue) (counted, error) {
	e := newEmulated(version)
	g := kernels.Gemm{M: m, N: n, K: k, TransB: true}
	g.A, g.B, g.Out = e.random(tensor.BF16, m, k), e.random(tensor.BF16, n, k), e.random(tensor.BF16, m, n)
	p.add(e, &g)
	if e.err != nil {
		return counted{}, e.err
	}
	clear(e.driver.Machine.Counters)
	e.Gemm(g)
	if err := e.Sync(); err != nil {
		return counted{}, err
	}
	if len(e.driver.Machine.Counters) != 1 {
		return counted{}, fmt.Errorf("version %d launched %d kernels, want 1", version, len(e.driver.Machine.Counters))
	}
	var c counted
	for name, k := range e.driver.Machine.Counters {
		c.kernel = name
		for _, i := range k.PerInstr {
			if !strings.Contains(i.Text, "try_wait") { // how often a wait is tried is up to the schedule
				c.instructions += float64(i.Execs)
			}
			c.wavefronts += float64(i.Wavefronts)
			c.sectors += float64(i.Sectors)
		}
		c.moved = float64(k.Read + k.Written)
	}
	return c, nil
}

// finishing is what it takes to finish 128 x 128 elements, without the steps of the main loop, and the whole
// product's use of memory.
func finishing(version int, p epilogue) (counted, error) {
	const n, k = 384, 128
	// Two sizes apart by 256 rows tell what does not depend on tiles, two depths what does not finish them.
	var c [3]counted
	for i, s := range [][2]int{{256, k}, {512, k}, {512, 2 * k}} {
		var err error
		if c[i], err = count(version, s[0], n, s[1], p); err != nil {
			return counted{}, err
		}
	}
	const tiles = 256 * n / (128 * 128)
	per := func(f func(c *counted) float64) float64 {
		return ((f(&c[1]) - f(&c[0])) - (f(&c[2])-f(&c[1]))/2) / tiles
	}
	out := c[1]
	out.instructions = per(func(c *counted) float64 { return c.instructions })
	out.wavefronts = per(func(c *counted) float64 { return c.wavefronts })
	return out, nil
}

// counters compares the counters of the interpreter for versions 3 and 4.
func counters(w io.Writer) error {
	registers, err := os.ReadFile("bench/ptxas.md")
	if err != nil {
		return fmt.Errorf("start it at the root of the repository: %w", err)
	}
	fmt.Fprint(w, "\n## What finishing a tile takes, counted on the interpreter\n\n"+
		"NT products of 512 x 384 x 128 on one multiprocessor. Instructions of warps and cycles of shared memory\n"+
		"(wavefronts) are those of finishing 128 x 128 elements, the main loop left out; no wavefront is a bank conflict.\n"+
		"Sectors are the bytes of those that requests to global memory touched, over the different bytes that the launch had\n"+
		"to move (tiles beside each other read the same A and B). Registers are those at the start (bench/ptxas.md);\n"+
		"consumers go up to 232 in version 3 and to 240 in version 4. No kernel spills.\n\n"+
		"| epilogue | kernel | instructions | wavefronts | sectors | registers |\n|---|---|---:|---:|---:|---:|\n")
	for _, p := range epilogues {
		for _, version := range []int{3, 4} {
			c, err := finishing(version, p)
			if err != nil {
				return fmt.Errorf("version %d, %s: %w", version, p.name, err)
			}
			r := regexp.MustCompile(`\| ` + c.kernel + ` \|.*\| (\d+) \| \d+ \|`).FindSubmatch(registers)
			if r == nil {
				return fmt.Errorf("bench/ptxas.md has no kernel %s", c.kernel)
			}
			fmt.Fprintf(w, "| %s | %s | %.0f | %.0f | %.2f | %s |\n",
				p.name, c.kernel, c.instructions, c.wavefronts, 32*c.sectors/c.moved, r[1])
		}
	}
	return nil
}
