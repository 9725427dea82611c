package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dino-mx/dmx/data/npy"
)

type ptxRunCmd struct {
	launchFlags
	Seeds int      `help:"Schedules to run: each a different random order of blocks and warps." default:"3"`
	Seed  uint64   `help:"Number of the first schedule." default:"1"`
	Print int      `help:"Elements of each buffer to print; --print=-1 prints all." default:"8"`
	Out   []string `help:"Write buffer argument N (from 0) of the first schedule to a .npy or .bin file." sep:"none" placeholder:"N=FILE"`
}

// Help is shown by dmx ptx run --help.
func (ptxRunCmd) Help() string {
	return `The kernel runs instruction by instruction on the CPU, once per schedule, under a sanitizer that finds races, accesses out of bounds or misaligned, reads of what nobody wrote, wrong barriers and masks, and deadlocks. Findings are printed as FILE:LINE: kind, and the exit code is 1. A result that differs between schedules is pointed out.

` + argumentHelp + `

Examples:
  dmx ptx run tools/dmx/testdata/scale.ptx --block 256 --grid 4 --arg buf:f32:1000=iota --arg f32:0.5 --arg i32:1000
  dmx ptx run gemm.ptx --kernel gemm --grid 2,2 --block 128 --shared 49152 --arg buf:bf16=@a.npy --arg buf:bf16=@b.npy --arg buf:f32:256x256 --out 2=c.npy --seeds 10`
}

// Run runs the schedules, then prints the buffers of the first.
func (c *ptxRunCmd) Run(io streams) error {
	if c.Seeds < 1 {
		return usageError{fmt.Errorf("--seeds: %d: expected at least 1", c.Seeds)}
	}
	l, err := c.open(io)
	if err != nil {
		return err
	}
	outs, err := c.outs(l)
	if err != nil {
		return err
	}
	var first *outcome
	printed := map[string]bool{}
	differ := map[int]bool{}
	for i := range uint64(c.Seeds) {
		o, err := l.run(c.Seed + i)
		if err != nil {
			return err
		}
		l.printFindings(io.err, o.findings, printed, c.Seed+i)
		if first == nil {
			first = o
		}
		for _, arg := range l.differing(first, o) {
			if len(printed) == 0 && !differ[arg] { // the memory after a finding is no result
				fmt.Fprintf(io.err, "argument %d differs between schedules %d and %d: the kernel's result depends on the order of its warps\n", arg, c.Seed, c.Seed+i)
			}
			differ[arg] = true
		}
	}
	fmt.Fprintf(io.out, "%s\n%s, %d warp instructions, %s\n", l.title(), plural(c.Seeds, "schedule"), first.counters.Instructions, plural(len(printed), "finding"))
	for i, a := range l.args {
		if a.buffer {
			c.printBuffer(io.out, i, a, first)
		}
	}
	if len(printed) > 0 {
		return fmt.Errorf("%s: kernel %s: %s", l.file, l.kernel.Name, plural(len(printed), "finding"))
	}
	for _, o := range outs {
		if err := o.write(l.args[o.arg], first.buffers[o.arg]); err != nil {
			return err
		}
		fmt.Fprintf(io.out, "argument %d written to %s\n", o.arg, o.file)
	}
	return nil
}

// printBuffer prints how a buffer has changed, and its first elements.
func (c *ptxRunCmd) printBuffer(w io.Writer, i int, a *argument, o *outcome) {
	b, n := o.buffers[i], a.count()
	state := fmt.Sprintf("%d of %d elements written", n-(o.unwritten[i]+a.elem.size-1)/a.elem.size, n)
	if a.content != nil {
		changed := 0
		for k := range n {
			if at := k * a.elem.size; string(b[at:at+a.elem.size]) != string(a.content[at:at+a.elem.size]) {
				changed++
			}
		}
		state = fmt.Sprintf("%d of %d elements changed", changed, n)
	}
	fmt.Fprintf(w, "argument %d, %s, %s\n", i, a.what(), state)
	show := n
	if c.Print >= 0 {
		show = min(n, c.Print)
	}
	if show == 0 {
		return
	}
	words := make([]string, show)
	for k := range show {
		words[k] = a.elem.text(b, k)
	}
	if show < n {
		words = append(words, "…")
	}
	fmt.Fprintf(w, "  %s\n", strings.Join(words, " "))
}

// ptxOut is one --out.
type ptxOut struct {
	arg  int
	file string
}

func (c *ptxRunCmd) outs(l *launched) ([]ptxOut, error) {
	var list []ptxOut
	for _, text := range c.Out {
		number, file, ok := strings.Cut(text, "=")
		n, err := strconv.Atoi(number)
		switch {
		case !ok || err != nil || file == "":
			return nil, usageError{fmt.Errorf("--out %s: expected N=FILE, N the number of a buffer argument from 0", text)}
		case n < 0 || n >= len(l.args) || !l.args[n].buffer:
			return nil, usageError{fmt.Errorf("--out %s: argument %d is not a buffer", text, n)}
		case !slices.Contains([]string{".npy", ".bin"}, strings.ToLower(filepath.Ext(file))):
			return nil, usageError{fmt.Errorf("--out %s: expected a name that ends in .npy or .bin", text)}
		}
		list = append(list, ptxOut{n, file})
	}
	return list, nil
}

// write puts a buffer into the file, under a temporary name until it is whole.
func (o ptxOut) write(a *argument, b []byte) error {
	if strings.EqualFold(filepath.Ext(o.file), ".npy") {
		b = append(npy.AppendHeader(nil, a.elem.npy, a.shape...), a.elem.toNPY(b)...)
	}
	tmp, err := os.CreateTemp(filepath.Dir(o.file), "."+filepath.Base(o.file)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return fmt.Errorf("%s: %w", o.file, err)
	}
	return os.Rename(tmp.Name(), o.file)
}
