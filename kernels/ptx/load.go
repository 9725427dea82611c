package ptx

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
	"github.com/dino-mx/dmx/tensor"
)

// Program is a compiled module: its kernels ready to run and its variables placed in a machine's memory.
type Program struct {
	machine *Machine
	kernels map[string]*program
}

// Load compiles a module and places its global variables. An instruction or modifier that the interpreter does
// not know is an error that names its line.
func (m *Machine) Load(mod *syntax.Module) (*Program, error) {
	globals := map[string]uint64{}
	for _, v := range mod.Globals {
		addr, err := m.Alloc(max(v.Size, 1))
		if err != nil {
			return nil, err
		}
		globals[v.Name] = addr
		init := v.Init
		if init == nil {
			init = make([]byte, v.Size)
		}
		if err := m.Write(addr, init); err != nil {
			return nil, err
		}
	}
	p := &Program{machine: m, kernels: map[string]*program{}}
	for _, k := range mod.Ordered() {
		if err := loadable(k); err != nil {
			return nil, err
		}
		c, errs := compile(mod, globals, k)
		if len(errs) > 0 {
			return nil, fmt.Errorf("ptx: kernel %s: %w", k.Name, errs[0])
		}
		p.kernels[k.Name] = c
	}
	return p, nil
}

// Kernel is the parsed form of a kernel, nil if the module has none of that name.
func (p *Program) Kernel(name string) *syntax.Kernel {
	if c := p.kernels[name]; c != nil {
		return c.k
	}
	return nil
}

// Launch runs a kernel to its end. params is the parameter memory, in which each parameter lies at its Offset.
// The error is of type Findings when the kernel ran but did something wrong.
func (p *Program) Launch(name string, grid, block [3]int, dynamicShared int, params []byte) error {
	c := p.kernels[name]
	if c == nil {
		return fmt.Errorf("ptx: no kernel %q in the module", name)
	}
	if len(params) != c.k.ParamSize {
		return fmt.Errorf("ptx: kernel %s: %d bytes of parameters, want %d", name, len(params), c.k.ParamSize)
	}
	if err := launchable(c.k, grid, block, dynamicShared, p.machine.SharedPerBlock); err != nil {
		return err
	}
	m := p.machine
	m.launches++
	n := m.Counters[name]
	if n == nil {
		n = newCounters(c.k)
		m.Counters[name] = n
	}
	n.Launches++
	l := &launch{m: m, p: c, grid: grid, block: block, params: params, counters: n, budget: m.MaxInstructions,
		rand: tensor.NewRand(m.Seed, m.launches, 0, 1<<25), seen: map[findingKey]bool{}}
	l.shared = newShared(c.k, c.tracked, dynamicShared, (block[0]*block[1]*block[2]+31)/32)
	return l.run()
}
