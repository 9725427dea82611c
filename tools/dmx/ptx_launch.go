package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// launchFlags describe one launch of a kernel.
type launchFlags struct {
	File   string   `arg:"" help:"PTX file."`
	Kernel string   `help:"Kernel to run; not needed if the file has one." placeholder:"NAME"`
	Grid   []int    `help:"Blocks: x, x,y or x,y,z." default:"1" sep:"," placeholder:"X,Y,Z"`
	Block  []int    `help:"Threads per block: x, x,y or x,y,z." sep:"," placeholder:"X,Y,Z"`
	Shared int      `help:"Bytes of dynamic shared memory." default:"0"`
	Arg    []string `help:"Next argument of the kernel, in order: f32:1.5, i32:-7, u64:0x10, buf:f32:1024=rand." sep:"none" placeholder:"ARG"`
	Limit  int64    `help:"Warp instructions after which a launch counts as an endless loop." default:"1000000000"`
}

// argumentHelp explains --arg for the commands that launch.
const argumentHelp = `Arguments, one --arg each, in the order of the kernel's parameters:
  f32:1.5  f64:  bf16:  i8:  i16:  i32:-7  i64:  u8:  u16:  u32:  u64:0x10    a number
  buf:f32:1024             a pointer to 1024 elements that nobody has written: reading them is a finding
  buf:f32:32x32=zeros      filled with zeros, ones, iota (0, 1, 2, ...) or rand (floats: normal; integers: any bits)
  buf:f32=@x.npy           the content of a NumPy file (bf16 from float32), or of any other file as raw bytes
  bytes:00ff0000           a structure passed by value, in hexadecimal, or bytes:@FILE`

// launched is a launch that is ready to run.
type launched struct {
	file        string
	mod         *syntax.Module
	kernel      *syntax.Kernel
	grid, block [3]int
	shared      int
	limit       int64
	args        []*argument
}

// open reads the file and the arguments.
func (f *launchFlags) open(io streams) (*launched, error) {
	mod, err := readPTX(f.File, io)
	if err != nil {
		return nil, err
	}
	return f.prepare(mod)
}

// maxBlocks is the largest number of blocks of a grid, far more than the interpreter runs in a reasonable time.
const maxBlocks = 1 << 24

// prepare matches the flags with the kernel.
func (f *launchFlags) prepare(mod *syntax.Module) (*launched, error) {
	l := &launched{file: f.File, mod: mod, shared: f.Shared, limit: f.Limit}
	var err error
	if l.kernel, err = kernelOf(f.File, mod, f.Kernel); err != nil {
		return nil, err
	}
	if l.grid, err = dimensions("--grid", f.Grid, maxBlocks, maxBlocks); err != nil {
		return nil, err
	}
	if len(f.Block) == 0 {
		return nil, usageError{fmt.Errorf("--block: expected the threads per block, such as --block 128")}
	}
	most := 1024
	if n := l.kernel.MaxNTid; n > 0 {
		most = min(most, n)
	}
	if l.block, err = dimensions("--block", f.Block, 1024, most); err != nil {
		return nil, err
	}
	if n := l.kernel.SharedLen; f.Shared < 0 || n+f.Shared > ptx.SharedLimit {
		return nil, usageError{fmt.Errorf("--shared: %d: expected 0 to %d beside the kernel's own %d bytes", f.Shared, ptx.SharedLimit-n, n)}
	}
	if f.Limit < 1 {
		return nil, usageError{fmt.Errorf("--limit: %d: expected at least 1", f.Limit)}
	}
	if len(f.Arg) != len(l.kernel.Params) {
		return nil, usageError{fmt.Errorf("--arg: kernel %s takes %s, %d given:%s", l.kernel.Name, plural(len(l.kernel.Params), "argument"), len(f.Arg), takes(l.kernel))}
	}
	total := 0
	for i, text := range f.Arg {
		a, err := parseArgument(text, i)
		if err != nil {
			return nil, err
		}
		if err := a.fits(l.kernel.Params[i]); err != nil {
			return nil, usageError{fmt.Errorf("--arg %s: %w; kernel %s takes:%s", text, err, l.kernel.Name, takes(l.kernel))}
		}
		if a.buffer {
			if total += a.count() * a.elem.size; total > 2*maxBuffer {
				return nil, usageError{fmt.Errorf("--arg %s: the buffers have more than %d bytes together", text, 2*maxBuffer)}
			}
		}
		l.args = append(l.args, a)
	}
	return l, nil
}

// dimensions checks one to three numbers, each from 1 to most and together at most product.
func dimensions(flag string, v []int, most, product int) ([3]int, error) {
	d := [3]int{1, 1, 1}
	if len(v) < 1 || len(v) > 3 {
		return d, usageError{fmt.Errorf("%s: %d numbers: expected x, x,y or x,y,z", flag, len(v))}
	}
	n := 1
	for i, x := range v {
		if i > 0 && flag == "--grid" {
			most = 65535
		}
		if x < 1 || x > most {
			return d, usageError{fmt.Errorf("%s: %d: expected 1 to %d", flag, x, most)}
		}
		if n > product/x {
			return d, usageError{fmt.Errorf("%s: %v: at most %d in all", flag, v, product)}
		}
		n *= x
		d[i] = x
	}
	return d, nil
}

// outcome is what one schedule of a launch left behind.
type outcome struct {
	findings  ptx.Findings
	buffers   [][]byte // by argument; nil where it is no buffer
	unwritten []int    // bytes of each buffer that nobody wrote
	counters  *ptx.Counters
}

// run executes the launch on a fresh device; seed chooses the order of blocks and warps.
func (l *launched) run(seed uint64) (*outcome, error) {
	memory := 1 << 30 // for the module's variables
	for _, a := range l.args {
		if a.buffer {
			memory += a.count() * a.elem.size
		}
	}
	m := ptx.NewMachine(memory)
	m.Seed, m.MaxInstructions = seed, l.limit
	p, err := m.Load(l.mod)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.file, err)
	}
	params := make([]byte, l.kernel.ParamSize)
	addrs := make([]uint64, len(l.args))
	for i, a := range l.args {
		value := a.value
		if a.buffer {
			if addrs[i], err = m.Alloc(a.count() * a.elem.size); err != nil {
				return nil, fmt.Errorf("--arg %s: %w", a.text, err)
			}
			if err := m.Write(addrs[i], a.content); err != nil {
				return nil, err
			}
			value = element{size: 8}.append(nil, addrs[i])
		}
		copy(params[l.kernel.Params[i].Offset:], value)
	}
	o := &outcome{buffers: make([][]byte, len(l.args)), unwritten: make([]int, len(l.args))}
	if o.findings, err = findingsOf(p.Launch(l.kernel.Name, l.grid, l.block, l.shared, params)); err != nil {
		return nil, err
	}
	o.counters = m.Counters[l.kernel.Name]
	for i, a := range l.args {
		if !a.buffer {
			continue
		}
		o.buffers[i] = make([]byte, a.count()*a.elem.size)
		if err := m.Read(o.buffers[i], addrs[i]); err != nil {
			return nil, err
		}
		if o.unwritten[i], err = m.Unwritten(addrs[i], len(o.buffers[i])); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// title names the launch.
func (l *launched) title() string {
	return fmt.Sprintf("kernel %s, %d x %d x %d blocks of %d x %d x %d threads, %d bytes of shared memory", l.kernel.Name,
		l.grid[0], l.grid[1], l.grid[2], l.block[0], l.block[1], l.block[2], l.kernel.SharedLen+l.shared)
}

// printFindings writes each finding once, at its place in the file.
func (l *launched) printFindings(w io.Writer, found ptx.Findings, printed map[string]bool, schedule uint64) {
	for _, f := range found {
		key := fmt.Sprint(f.Line, f.Kind)
		if printed[key] {
			continue
		}
		printed[key] = true
		where := fmt.Sprintf("block (%d,%d,%d), warp %d", f.CTA[0], f.CTA[1], f.CTA[2], f.Warp)
		if f.Lane >= 0 {
			where += fmt.Sprintf(", lane %d", f.Lane)
		}
		if f.Detail != "" {
			where += ": " + f.Detail
		}
		fmt.Fprintf(w, "%s:%d: %s in %s (schedule %d): %s\n", l.file, f.Line, f.Kind, f.Instr, schedule, where)
	}
}

// differing lists the buffers that two schedules left with different bytes.
func (l *launched) differing(a, b *outcome) []int {
	var list []int
	for i := range l.args {
		if !bytes.Equal(a.buffers[i], b.buffers[i]) {
			list = append(list, i)
		}
	}
	return list
}
