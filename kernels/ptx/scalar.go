package ptx

// unaryOps are the instructions of one source that are neither moves nor conversions: they make a function from the
// modifiers still to consume and the type.
var unaryOps = map[string]func(c *compiler, t string) (func(a uint64) uint64, error){
	"neg": negate, "abs": absolute, "not": bitNot,
	"popc": population, "clz": leadingZeros, "brev": bitReverse, "bfind": highestBit,
	"ex2": approximate, "lg2": approximate, "rcp": approximate, "sqrt": approximate, "rsqrt": approximate,
	"tanh": approximate, "sin": approximate, "cos": approximate,
}

// binaryOps are the instructions of two sources, in the same way.
var binaryOps = map[string]func(c *compiler, t string) (func(a, b uint64) uint64, error){
	"add": add, "sub": subtract, "div": divide, "rem": remainder, "min": minimum, "max": maximum, "copysign": copySign,
	"and": bitAnd, "or": bitOr, "xor": bitXor, "shl": shiftLeft, "shr": shiftRight,
}

func (c *compiler) unary() error {
	t := c.typ()
	if t == "" {
		return unsupported(t)
	}
	if c.in.Op == "not" && t == "pred" {
		return c.predNot()
	}
	f, err := unaryOps[c.in.Op](c, t)
	if err != nil {
		return err
	}
	return c.unaryWith(f)
}

func (c *compiler) binary() error {
	t := c.typ()
	if t == "" {
		return unsupported(t)
	}
	if t == "pred" {
		return c.predBinary()
	}
	f, err := binaryOps[c.in.Op](c, t)
	if err != nil {
		return err
	}
	return c.binaryWith(f)
}
