package ptx

import (
	"fmt"
	"slices"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// compiler turns a parsed kernel into steps. Data registers and predicates are numbered separately; special
// registers and parameters become constants of the warp or of the launch.
type compiler struct {
	mod *syntax.Module
	// globals are the addresses of the module's global variables, nil while nothing is placed.
	globals map[string]uint64
	k       *syntax.Kernel
	slot    []int // of every declared register, in its own file
	st      *step
	in      *syntax.Instr
	mods    []string // modifiers not yet understood

	sink, psink int  // what _ stands for: a register and a predicate that nobody reads
	tracked     bool // the kernel has operations that read shared memory asynchronously
}

// regName is the declared name of data register r, for messages.
func (p *program) regName(r int) string {
	n := 0
	for _, d := range p.k.Regs {
		if d.Type != "pred" {
			if n == r {
				return d.Name
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
		if syntax.Size(m) != 0 || m == "pred" {
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

func (c *compiler) isPred(o syntax.Operand) bool {
	return o.Kind == syntax.RegOperand && c.k.Regs[o.Reg].Type == "pred"
}

func (c *compiler) regSize(o syntax.Operand) int { return syntax.Size(c.k.Regs[o.Reg].Type) }

// src resolves a data operand that is read.
func (c *compiler) src(o syntax.Operand) (source, error) {
	switch o.Kind {
	case syntax.RegOperand:
		if c.isPred(o) {
			return nil, fmt.Errorf("predicate %s where data is expected", c.k.Regs[o.Reg].Name)
		}
		r := c.slot[o.Reg]
		c.st.reads = append(c.st.reads, r)
		return func(w *warp) *lanes { return &w.regs[r] }, nil
	case syntax.ImmOperand:
		k := constant(o.Imm)
		return func(*warp) *lanes { return k }, nil
	case syntax.SymbolOperand:
		v, err := c.symbol(o.Name)
		if err != nil {
			return nil, err
		}
		k := constant(v + o.Imm)
		return func(*warp) *lanes { return k }, nil
	case syntax.SpecialOperand:
		return special(o.Name)
	}
	return nil, fmt.Errorf("operand of a kind that is not data")
}

// symbol is the address of a variable in its own state space.
func (c *compiler) symbol(name string) (uint64, error) {
	for _, v := range c.k.Shared {
		if v.Name == name {
			return sharedStart + uint64(v.Offset), nil
		}
	}
	if d := c.k.Extern; d != nil && d.Name == name {
		return sharedStart + uint64((c.k.SharedLen+d.Align-1)&^(d.Align-1)), nil
	}
	for _, v := range c.k.Local {
		if v.Name == name {
			return uint64(v.Offset), nil
		}
	}
	for _, v := range c.mod.Globals {
		if v.Name == name {
			return c.globals[name], nil
		}
	}
	for _, p := range c.k.Params {
		if p.Name == name {
			return c.k.ParamStart + uint64(p.Offset), nil
		}
	}
	return 0, fmt.Errorf("unknown symbol %q", name)
}

// dst resolves a data register that is written.
func (c *compiler) dst(o syntax.Operand) (int, error) {
	if o.Kind == syntax.SinkOperand {
		return c.sink, nil
	}
	if o.Kind != syntax.RegOperand || c.isPred(o) {
		return 0, fmt.Errorf("destination is not a data register")
	}
	r := c.slot[o.Reg]
	c.st.writes = append(c.st.writes, r)
	return r, nil
}

// pdst resolves a predicate that is written.
func (c *compiler) pdst(o syntax.Operand) (int, error) {
	if o.Kind == syntax.SinkOperand {
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
func (c *compiler) psrc(o syntax.Operand) (func(w *warp) uint32, error) {
	if o.Kind == syntax.ImmOperand {
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
func vector(o syntax.Operand) []syntax.Operand {
	if o.Kind == syntax.VectorOperand {
		return o.Elems
	}
	return []syntax.Operand{o}
}

func (c *compiler) srcs(os []syntax.Operand) ([]source, error) {
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

func (c *compiler) dsts(os []syntax.Operand) ([]int, error) {
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
