package ptx

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// startRegisters is the number of registers a thread starts with, as the assembler chooses it for kernels that use
// setmaxnreg: .maxnreg, or an equal share of the register file, in steps of 8.
func startRegisters(k *syntax.Kernel, threads int) int {
	if k.MaxNReg > 0 {
		return k.MaxNReg
	}
	return min(registersPerBlock/max(k.MaxNTid, threads)/max(k.MinCTAs, 1)&^7, 256)
}

// setmaxnreg compiles setmaxnreg.inc and .dec: a warp takes registers from the block's pool, which is empty
// at first and for which it may have to wait, or gives them back.
func (c *compiler) setmaxnreg() error {
	inc := c.oneOf("inc", "dec") == "inc"
	if !c.has("sync") || !c.has("aligned") {
		return fmt.Errorf("want .sync.aligned")
	}
	// The assembler must know how many registers a thread starts with.
	if c.k.MaxNReg == 0 && c.k.MaxNTid == 0 {
		return fmt.Errorf("the kernel wants .maxnreg, .maxntid or .reqntid")
	}
	if t := c.typ(); t != "u32" {
		return fmt.Errorf("want .u32")
	}
	if err := c.nargs(1); err != nil {
		return err
	}
	n := int(c.in.Args[0].Imm)
	if c.in.Args[0].Kind != syntax.ImmOperand || n < 24 || n > 256 || n%8 != 0 {
		return fmt.Errorf("want a literal multiple of 8 from 24 to 256")
	}
	c.st.kind = stepSync
	c.st.sync = func(w *warp, m uint32) bool {
		w.wholeGroup(m)
		l := w.l
		have := startRegisters(l.p.k, l.block[0]*l.block[1]*l.block[2])
		if k := len(w.registers); k > 0 {
			have = w.registers[k-1]
		}
		if inc && n < have || !inc && n > have {
			l.report(w, BadOperand, -1, fmt.Sprintf("%d registers; the warp has %d", n, have))
			panic(abort{})
		}
		more := 32 * (n - have)
		if more > l.pool {
			w.blocked = func() bool { return more <= l.pool }
			w.why = func() string { return fmt.Sprintf("%d registers of a pool of %d", more, l.pool) }
			return false
		}
		w.why = nil
		l.pool -= more
		w.registers = append(w.registers, n)
		for i := w.id &^ 3; i < w.id&^3+4; i++ {
			if o := l.warps[i].registers; len(o) >= len(w.registers) && o[len(w.registers)-1] != n {
				l.report(w, BadWarpgroup, -1, fmt.Sprintf("warp %d of the warpgroup asks for %d registers", i, o[len(w.registers)-1]))
			}
		}
		w.pc++
		return true
	}
	return nil
}

// checkRegisters checks at the end of a block that the warps of a warpgroup changed their registers equally often.
func (l *launch) checkRegisters(w *warp) {
	first := l.warps[w.id&^3]
	if len(w.registers) != len(first.registers) {
		l.at = l.p.setmaxnreg()
		l.report(w, BadWarpgroup, -1, fmt.Sprintf("the warp executes setmaxnreg %d times, warp %d of its warpgroup %d times", len(w.registers), first.id, len(first.registers)))
		l.at = nil
	}
}

// setmaxnreg is the first instruction of that name.
func (p *program) setmaxnreg() *syntax.Instr {
	for i := range p.k.Code {
		if p.k.Code[i].Op == "setmaxnreg" {
			return &p.k.Code[i]
		}
	}
	return nil
}
