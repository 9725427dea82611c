package ptx

import (
	"fmt"
	"math/bits"
	"slices"
)

type stepKind uint8

const (
	stepPlain  stepKind = iota
	stepBranch          // may part the warp
	stepExit            // ends the threads
	stepSync            // needs the whole warp and may block
	stepWait            // any lanes; may have to wait
)

// step is one instruction ready to run.
type step struct {
	in              *Instr
	kind            stepKind
	run             func(w *warp, m uint32)
	sync            func(w *warp, m uint32) bool // false when the warp now waits
	wait            func(w *warp, m uint32) bool // false when the lanes must wait for w.until
	converge        bool                         // an instruction of the whole warp: paths join before it
	guard           int
	negate          bool
	target          int
	reads, writes   []int
	preads, pwrites []int
	product         *productOp // of wgmma.mma_async
	mmaRegs         []int      // registers touched that a matrix product of the kernel uses
}

// compiler turns a parsed kernel into steps. Data registers and predicates are numbered separately; special
// registers and parameters become constants of the warp or of the launch.
type compiler struct {
	mod  *Module
	k    *Kernel
	slot []int // of every declared register, in its own file
	st   *step
	in   *Instr
	mods []string // modifiers not yet understood

	sink, psink int  // what _ stands for: a register and a predicate that nobody reads
	tracked     bool // the kernel has operations that read shared memory asynchronously
}

// compile returns every mistake it finds; the program runs only if there is none.
func compile(mod *Module, k *Kernel) (*program, []error) {
	var errs []error
	p := &program{k: k}
	c := &compiler{mod: mod, k: k, slot: make([]int, len(k.regs))}
	for i, r := range k.regs {
		if r.typ == "pred" {
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
		*c.st = step{in: in, guard: -1, negate: in.Negate, target: in.target}
		if in.Guard >= 0 {
			c.st.guard = c.slot[in.Guard]
		}
		if err := c.instruction(); err != nil {
			errs = append(errs, lineErrorf(in.Line, "%s: %v", in.Text, err))
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
			errs = append(errs, lineErrorf(in.Line, "%s: modifier %q is not known here", in.Text, "."+c.mods[0]))
		}
		p.tracked = p.tracked || in.Op == "wgmma" || c.tracked
	}
	if len(errs) == 0 {
		p.markMatrixRegisters()
	}
	return p, errs
}

// regName is the declared name of data register r, for messages.
func (p *program) regName(r int) string {
	n := 0
	for _, d := range p.k.regs {
		if d.typ != "pred" {
			if n == r {
				return d.name
			}
			n++
		}
	}
	return fmt.Sprint(r)
}

// has consumes modifier s if it is there.
func (c *compiler) has(s string) bool {
	for i, m := range c.mods {
		if m == s {
			c.mods = slices.Delete(c.mods, i, i+1)
			return true
		}
	}
	return false
}

// oneOf consumes the first of the given modifiers that is there.
func (c *compiler) oneOf(ss ...string) string {
	for _, s := range ss {
		if c.has(s) {
			return s
		}
	}
	return ""
}

// typ consumes and returns the first type modifier.
func (c *compiler) typ() string {
	for i, m := range c.mods {
		if typeSizes[m] != 0 || m == "pred" {
			c.mods = slices.Delete(c.mods, i, i+1)
			return m
		}
	}
	return ""
}

func (c *compiler) nargs(n int) error {
	if len(c.in.Args) != n {
		return fmt.Errorf("%d operands, want %d", len(c.in.Args), n)
	}
	return nil
}

// source yields the lanes of an operand.
type source func(w *warp) *lanes

func constant(v uint64) *lanes {
	var l lanes
	for i := range l {
		l[i] = v
	}
	return &l
}

func (c *compiler) isPred(o Operand) bool { return o.Kind == opReg && c.k.regs[o.Reg].typ == "pred" }

func (c *compiler) regSize(o Operand) int { return typeSizes[c.k.regs[o.Reg].typ] }

// src resolves a data operand that is read.
func (c *compiler) src(o Operand) (source, error) {
	switch o.Kind {
	case opReg:
		if c.isPred(o) {
			return nil, fmt.Errorf("predicate %s where data is expected", c.k.regs[o.Reg].name)
		}
		r := c.slot[o.Reg]
		c.st.reads = append(c.st.reads, r)
		return func(w *warp) *lanes { return &w.regs[r] }, nil
	case opImm:
		k := constant(o.Imm)
		return func(*warp) *lanes { return k }, nil
	case opSymbol:
		v, err := c.symbol(o.Name)
		if err != nil {
			return nil, err
		}
		k := constant(v + o.Imm)
		return func(*warp) *lanes { return k }, nil
	case opSpecial:
		return special(o.Name)
	}
	return nil, fmt.Errorf("operand of a kind that is not data")
}

// symbol is the address of a variable in its own state space.
func (c *compiler) symbol(name string) (uint64, error) {
	for _, v := range c.k.Shared {
		if v.Name == name {
			return sharedStart + v.addr, nil
		}
	}
	if d := c.k.dynamic; d != nil && d.Name == name {
		return sharedStart + uint64((c.k.SharedLen+d.Align-1)&^(d.Align-1)), nil
	}
	for _, v := range c.k.Local {
		if v.Name == name {
			return v.addr, nil
		}
	}
	for _, v := range c.mod.Globals {
		if v.Name == name {
			return v.addr, nil
		}
	}
	for _, p := range c.k.Params {
		if p.Name == name {
			return c.k.paramStart + uint64(p.Offset), nil
		}
	}
	return 0, fmt.Errorf("unknown symbol %q", name)
}

// dst resolves a data register that is written.
func (c *compiler) dst(o Operand) (int, error) {
	if o.Kind == opSink {
		return c.sink, nil
	}
	if o.Kind != opReg || c.isPred(o) {
		return 0, fmt.Errorf("destination is not a data register")
	}
	r := c.slot[o.Reg]
	c.st.writes = append(c.st.writes, r)
	return r, nil
}

// pdst resolves a predicate that is written.
func (c *compiler) pdst(o Operand) (int, error) {
	if o.Kind == opSink {
		return c.psink, nil
	}
	if !c.isPred(o) {
		return 0, fmt.Errorf("destination is not a predicate")
	}
	r := c.slot[o.Reg]
	c.st.pwrites = append(c.st.pwrites, r)
	return r, nil
}

// psrc resolves a predicate that is read.
func (c *compiler) psrc(o Operand) (func(w *warp) uint32, error) {
	if o.Kind == opImm {
		v := uint32(0)
		if (o.Imm != 0) != o.Negate {
			v = fullMask
		}
		return func(*warp) uint32 { return v }, nil
	}
	if !c.isPred(o) {
		return nil, fmt.Errorf("operand is not a predicate")
	}
	r, neg := c.slot[o.Reg], o.Negate
	c.st.preads = append(c.st.preads, r)
	return func(w *warp) uint32 {
		if neg {
			return ^w.preds[r]
		}
		return w.preds[r]
	}, nil
}

// vector flattens a {a,b,c} operand; a plain operand counts as a vector of one.
func vector(o Operand) []Operand {
	if o.Kind == opVector {
		return o.Elems
	}
	return []Operand{o}
}

func (c *compiler) srcs(os []Operand) ([]source, error) {
	var out []source
	for _, o := range os {
		s, err := c.src(o)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (c *compiler) dsts(os []Operand) ([]int, error) {
	var out []int
	for _, o := range os {
		r, err := c.dst(o)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// special yields the lanes of a special register.
func special(name string) (source, error) {
	perLane := func(f func(w *warp, lane int) uint64) source {
		return func(w *warp) *lanes {
			var l lanes
			for i := range l {
				l[i] = f(w, i)
			}
			return &l
		}
	}
	uniform := func(f func(w *warp) int) source {
		return func(w *warp) *lanes { return constant(uint64(f(w))) }
	}
	tid := func(w *warp, lane int) (int, int, int) {
		t, b := w.id*32+lane, w.l.block
		return t % b[0], t / b[0] % b[1], t / b[0] / b[1]
	}
	switch name {
	case "%tid.x":
		return perLane(func(w *warp, l int) uint64 { x, _, _ := tid(w, l); return uint64(x) }), nil
	case "%tid.y":
		return perLane(func(w *warp, l int) uint64 { _, y, _ := tid(w, l); return uint64(y) }), nil
	case "%tid.z":
		return perLane(func(w *warp, l int) uint64 { _, _, z := tid(w, l); return uint64(z) }), nil
	case "%laneid":
		return perLane(func(_ *warp, l int) uint64 { return uint64(l) }), nil
	case "%lanemask_lt":
		return perLane(func(_ *warp, l int) uint64 { return 1<<l - 1 }), nil
	case "%lanemask_le":
		return perLane(func(_ *warp, l int) uint64 { return 2<<l - 1 }), nil
	case "%lanemask_eq":
		return perLane(func(_ *warp, l int) uint64 { return 1 << l }), nil
	case "%lanemask_gt":
		return perLane(func(_ *warp, l int) uint64 { return uint64(^uint32(2<<l - 1)) }), nil
	case "%lanemask_ge":
		return perLane(func(_ *warp, l int) uint64 { return uint64(^uint32(1<<l - 1)) }), nil
	case "%warpid":
		return uniform(func(w *warp) int { return w.id }), nil
	case "%nwarpid":
		return uniform(func(w *warp) int { return len(w.l.warps) }), nil
	case "%dynamic_smem_size":
		return uniform(func(w *warp) int { return len(w.l.shared.data) - w.p.k.SharedLen }), nil
	case "%smid":
		return uniform(func(w *warp) int { return int(w.l.ctaIndex) % 132 }), nil
	case "%clock", "%clock64":
		return uniform(func(w *warp) int { return int(w.l.counters.Instructions) }), nil
	case "%cluster_ctarank":
		return uniform(func(*warp) int { return 0 }), nil
	case "%cluster_nctarank":
		return uniform(func(*warp) int { return 1 }), nil
	case "%cluster_ctaid.x", "%cluster_ctaid.y", "%cluster_ctaid.z":
		return uniform(func(*warp) int { return 0 }), nil
	case "%cluster_nctaid.x", "%cluster_nctaid.y", "%cluster_nctaid.z":
		return uniform(func(*warp) int { return 1 }), nil
	}
	for i, axis := range []string{".x", ".y", ".z"} {
		switch name {
		case "%ntid" + axis:
			return uniform(func(w *warp) int { return w.l.block[i] }), nil
		case "%ctaid" + axis, "%clusterid" + axis:
			return uniform(func(w *warp) int { return w.l.cta[i] }), nil
		case "%nctaid" + axis, "%nclusterid" + axis:
			return uniform(func(w *warp) int { return w.l.grid[i] }), nil
		}
	}
	return nil, fmt.Errorf("special register %s is not known", name)
}

// each calls f for every lane in m.
func each(m uint32, f func(l int)) {
	for ; m != 0; m &= m - 1 {
		f(bits.TrailingZeros32(m))
	}
}

// pick returns bit l of a lane mask as a bool.
func pick(m uint32, l int) bool { return m>>l&1 != 0 }
