package ptx

import (
	"slices"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// compile returns every mistake it finds; the program runs only if there is none.
func compile(mod *syntax.Module, globals map[string]uint64, k *syntax.Kernel) (*program, []error) {
	var errs []error
	p := &program{k: k}
	c := &compiler{mod: mod, globals: globals, k: k, slot: make([]int, len(k.Regs))}
	for i, r := range k.Regs {
		if r.Type == "pred" {
			c.slot[i] = p.npred
			p.npred++
		} else {
			c.slot[i] = p.nregs
			p.nregs++
		}
	}
	c.sink, c.psink = p.nregs, p.npred
	p.nregs++
	p.npred++
	p.steps = make([]step, len(k.Code))
	for i := range k.Code {
		in := &k.Code[i]
		c.in, c.st, c.mods = in, &p.steps[i], slices.Clone(in.Mods)
		*c.st = step{in: in, guard: -1, negate: in.Negate, target: in.Target}
		if in.Guard >= 0 {
			c.st.guard = c.slot[in.Guard]
		}
		err := c.target()
		if err == nil {
			err = c.instruction()
		}
		if err != nil {
			errs = append(errs, syntax.Errorf(in.Line, "%s: %v", in.Text, err))
			continue
		}
		switch in.Op {
		case "shfl", "vote", "redux", "mma", "ldmatrix", "stmatrix", "elect":
			c.st.converge = true
		case "mbarrier":
			p.mbarriers = true
		}
		c.st.converge = c.st.converge || c.st.kind == stepSync
		if len(c.mods) > 0 {
			errs = append(errs, syntax.Errorf(in.Line, "%s: modifier %q is not known here", in.Text, "."+c.mods[0]))
		}
		p.tracked = p.tracked || in.Op == "wgmma" || c.tracked
	}
	if len(errs) == 0 {
		p.markMatrixRegisters()
	}
	return p, errs
}

// markMatrixRegisters lists for every other instruction the registers it shares with matrix products.
func (p *program) markMatrixRegisters() {
	used := make([]bool, p.nregs)
	for i := range p.steps {
		if op := p.steps[i].product; op != nil {
			p.matrix = true
			for _, r := range append(op.d[:len(op.d):len(op.d)], op.a...) {
				used[r] = true
			}
		}
	}
	if !p.matrix {
		return
	}
	for i := range p.steps {
		st := &p.steps[i]
		if st.product != nil {
			continue
		}
		for _, r := range append(st.reads[:len(st.reads):len(st.reads)], st.writes...) {
			if used[r] {
				st.mmaRegs = append(st.mmaRegs, r)
			}
		}
	}
}
