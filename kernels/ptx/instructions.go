package ptx

import "fmt"

// instruction compiles c.in into c.st.
func (c *compiler) instruction() error {
	if f, ok := opcodes[c.in.Op]; ok {
		return f(c)
	}
	return fmt.Errorf("the instruction is not known to the interpreter")
}

var opcodes map[string]func(*compiler) error

func init() {
	opcodes = map[string]func(*compiler) error{
		"mov": (*compiler).mov, "cvta": (*compiler).cvta, "cvt": (*compiler).cvt,
		"ld": (*compiler).ld, "ldu": (*compiler).ld, "st": (*compiler).stOp,
		"setp": (*compiler).setp, "set": (*compiler).set, "selp": (*compiler).selp,
		"bra": (*compiler).bra, "ret": (*compiler).exit, "exit": (*compiler).exit, "trap": (*compiler).trap,
		"bar": (*compiler).bar, "barrier": (*compiler).bar, "membar": (*compiler).fence, "fence": (*compiler).fence,
		"shfl": (*compiler).shfl, "vote": (*compiler).vote, "activemask": (*compiler).activemask, "redux": (*compiler).redux,
		"atom": (*compiler).atom, "red": (*compiler).atom,
		"mma": (*compiler).mma, "ldmatrix": (*compiler).ldmatrix, "stmatrix": (*compiler).stmatrix, "cp": (*compiler).cp,
		"bfe": (*compiler).bfe, "bfi": (*compiler).bfi, "prmt": (*compiler).prmt, "shf": (*compiler).shf, "lop3": (*compiler).lop3,
		"mbarrier": (*compiler).mbarrierOp, "wgmma": (*compiler).wgmma, "setmaxnreg": (*compiler).setmaxnreg,
		"elect": (*compiler).elect, "mapa": (*compiler).mapa,
		"nanosleep": (*compiler).nop, "prefetch": (*compiler).prefetch, "griddepcontrol": (*compiler).nop,
		"mul": (*compiler).mul, "mad": (*compiler).mad, "mul24": (*compiler).mul,
	}
	for op := range unaryOps {
		opcodes[op] = (*compiler).unary
	}
	for op := range binaryOps {
		opcodes[op] = (*compiler).binary
	}
	opcodes["fma"] = (*compiler).fma
}

func (c *compiler) trap() error {
	c.st.run = func(w *warp, m uint32) {
		w.l.report(w, BadOperand, -1, "the kernel trapped")
		panic(abort{})
	}
	return nil
}

func (c *compiler) exit() error {
	c.has("uni")
	c.st.kind = stepExit
	return c.nargs(0)
}

func (c *compiler) bra() error {
	c.has("uni")
	c.st.kind = stepBranch
	return nil
}
