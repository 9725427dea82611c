package ptx

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/dino-mx/dmx/tensor"
)

// Kind classifies what the sanitizer found.
type Kind string

// The kinds of finding.
const (
	OutOfBounds   Kind = "out of bounds"
	Misaligned    Kind = "misaligned address"
	Uninitialised Kind = "uninitialised read"
	Race          Kind = "race"
	AsyncRace     Kind = "access to memory that an asynchronous copy is still writing"
	PartialMask   Kind = "warp instruction with missing lanes"
	BadBarrier    Kind = "wrong barrier"
	Deadlock      Kind = "deadlock"
	BadOperand    Kind = "bad operand"
	BadMbarrier   Kind = "wrong use of an mbarrier"
	MissingFence  Kind = "missing fence"
	AsyncReuse    Kind = "write to memory that an asynchronous operation still reads"
	AsyncRegister Kind = "access to a register of a matrix product in flight"
	BadWarpgroup  Kind = "wrong warpgroup"
)

// Finding is one mistake of a kernel, with the place it shows at.
type Finding struct {
	Kind   Kind
	Kernel string
	Line   int    // line of the PTX file
	Instr  string // the instruction
	CTA    [3]int
	Warp   int
	Lane   int // -1 where the whole warp is meant
	Detail string
}

func (f Finding) Error() string {
	s := fmt.Sprintf("%s: kernel %s, line %d (%s), block (%d,%d,%d), warp %d", f.Kind, f.Kernel, f.Line, f.Instr, f.CTA[0], f.CTA[1], f.CTA[2], f.Warp)
	if f.Lane >= 0 {
		s += fmt.Sprintf(", lane %d", f.Lane)
	}
	if f.Detail != "" {
		s += ": " + f.Detail
	}
	return s
}

// Findings are all mistakes of one launch, at most one per kind and instruction.
type Findings []Finding

func (f Findings) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Machine is an emulated device: memory, schedule and limits. It belongs to one goroutine.
type Machine struct {
	// Seed chooses the order in which blocks and warps run.
	Seed uint64
	// Counters of every kernel launched since the last reset, by kernel name.
	Counters map[string]*Counters
	// MaxInstructions stops a launch that executes more warp instructions, which is taken for an endless loop.
	MaxInstructions int64

	heap     heap
	launches uint32
	time     uint32 // counts synchronisation events, over all launches
}

// SharedLimit is the dynamic plus static shared memory one block may have: that of compute capability 9.0, which
// is the larger of the two we ship for; the backend asks the driver what it may use.
const SharedLimit = 227 << 10

// NewMachine makes an emulated device with the given bytes of memory.
func NewMachine(memory int) *Machine {
	return &Machine{Counters: map[string]*Counters{}, MaxInstructions: 1 << 34, heap: heap{limit: memory}, time: 1}
}

// Alloc reserves n bytes of device memory with undefined content.
func (m *Machine) Alloc(n int) (uint64, error) { return m.heap.alloc(n) }

// Free gives an allocation back.
func (m *Machine) Free(addr uint64) error { return m.heap.free(addr) }

// InUse is the number of bytes allocated, Limit the size of the memory.
func (m *Machine) InUse() int { return m.heap.used }

// Limit is the size of the device memory in bytes.
func (m *Machine) Limit() int { return m.heap.limit }

// Write copies host bytes to device memory; Read the other way.
func (m *Machine) Write(addr uint64, b []byte) error { return m.heap.copyIn(addr, b) }

// Read copies device memory to the host.
func (m *Machine) Read(b []byte, addr uint64) error { return m.heap.copyOut(b, addr) }

// Unwritten is how many of n bytes of device memory neither the host nor a kernel has written.
func (m *Machine) Unwritten(addr uint64, n int) (int, error) {
	a := m.heap.find(addr, n)
	if a == nil {
		return 0, fmt.Errorf("ptx: %d bytes at %#x are out of bounds (%s)", n, addr, m.heap.describe(addr))
	}
	off := addr - a.base
	return bytes.Count(a.init[off:off+uint64(n)], []byte{0}), nil
}

// Fill sets n bytes of device memory to v.
func (m *Machine) Fill(addr uint64, v byte, n int) error {
	b := make([]byte, n)
	for i := range b {
		b[i] = v
	}
	return m.heap.copyIn(addr, b)
}

// Copy copies n bytes inside device memory.
func (m *Machine) Copy(dst, src uint64, n int) error {
	b := make([]byte, n)
	if err := m.heap.copyOut(b, src); err != nil {
		return err
	}
	return m.heap.copyIn(dst, b)
}

// Program is a compiled module: its kernels ready to run and its variables placed in a machine's memory.
type Program struct {
	machine *Machine
	kernels map[string]*program
}

type program struct {
	k     *Kernel
	steps []step
	nregs int
	npred int

	mbarriers bool // the kernel uses mbarriers
	tracked   bool // the kernel has operations that read shared memory asynchronously
	matrix    bool // the kernel has wgmma
}

// Load compiles a module and places its global variables. An instruction or modifier that the interpreter does
// not know is an error that names its line.
func (m *Machine) Load(mod *Module) (*Program, error) {
	for _, v := range mod.Globals {
		addr, err := m.Alloc(max(v.Size, 1))
		if err != nil {
			return nil, err
		}
		v.addr = addr
		if v.Init == nil {
			v.Init = make([]byte, v.Size)
		}
		if err := m.Write(addr, v.Init); err != nil {
			return nil, err
		}
	}
	p := &Program{machine: m, kernels: map[string]*program{}}
	for _, k := range mod.Ordered() {
		c, errs := compile(mod, k)
		if len(errs) > 0 {
			return nil, fmt.Errorf("ptx: kernel %s: %w", k.Name, errs[0])
		}
		p.kernels[k.Name] = c
	}
	return p, nil
}

// Kernel is the parsed form of a kernel, nil if the module has none of that name.
func (p *Program) Kernel(name string) *Kernel {
	if c := p.kernels[name]; c != nil {
		return c.k
	}
	return nil
}

// Launch runs a kernel to its end. params is the parameter memory, in which each parameter lies at its Offset. The error is of type Findings when
// the kernel ran but did something wrong.
func (p *Program) Launch(name string, grid, block [3]int, dynamicShared int, params []byte) error {
	c := p.kernels[name]
	if c == nil {
		return fmt.Errorf("ptx: no kernel %q in the module", name)
	}
	threads := block[0] * block[1] * block[2]
	switch {
	case len(params) != c.k.ParamSize:
		return fmt.Errorf("ptx: kernel %s: %d bytes of parameters, want %d", name, len(params), c.k.ParamSize)
	case threads < 1 || threads > 1024 || c.k.MaxNTid > 0 && threads > c.k.MaxNTid:
		return fmt.Errorf("ptx: kernel %s: block %v has %d threads, at most %d fit", name, block, threads, max(c.k.MaxNTid, 1024))
	case grid[0] < 1 || grid[1] < 1 || grid[2] < 1 || grid[1] > 65535 || grid[2] > 65535:
		return fmt.Errorf("ptx: kernel %s: bad grid %v", name, grid)
	case c.k.SharedLen+dynamicShared > SharedLimit:
		return fmt.Errorf("ptx: kernel %s: %d bytes of shared memory, at most %d fit", name, c.k.SharedLen+dynamicShared, SharedLimit)
	}
	m := p.machine
	m.launches++
	n := m.Counters[name]
	if n == nil {
		n = newCounters(c)
		m.Counters[name] = n
	}
	n.Launches++
	l := &launch{m: m, p: c, grid: grid, block: block, params: params, counters: n, budget: m.MaxInstructions,
		rand: tensor.NewRand(m.Seed, m.launches, 0, 1<<25), seen: map[findingKey]bool{}}
	l.shared = newShared(c, dynamicShared, (threads+31)/32)
	return l.run()
}
