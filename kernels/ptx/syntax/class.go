package syntax

import "slices"

// Classes are the groups that Instr.Class sorts instructions into, in the order they are shown.
var Classes = []string{
	"tensor core", "float", "integer", "bits", "compare and select", "convert and move",
	"global memory", "shared memory", "generic memory", "local memory", "parameters", "asynchronous copy", "atomic",
	"warp", "synchronise", "control", "other",
}

var classOf = map[string]string{
	"mma": "tensor core", "wgmma": "tensor core",
	"and": "bits", "or": "bits", "xor": "bits", "not": "bits", "shl": "bits", "shr": "bits", "shf": "bits", "lop3": "bits", "prmt": "bits",
	"bfe": "bits", "bfi": "bits", "popc": "bits", "clz": "bits", "brev": "bits", "bfind": "bits",
	"setp": "compare and select", "set": "compare and select", "selp": "compare and select",
	"mov": "convert and move", "cvt": "convert and move", "cvta": "convert and move", "mapa": "convert and move",
	"ldmatrix": "shared memory", "stmatrix": "shared memory",
	"cp": "asynchronous copy", "prefetch": "asynchronous copy",
	"atom": "atomic", "red": "atomic",
	"shfl": "warp", "vote": "warp", "redux": "warp", "activemask": "warp", "elect": "warp",
	"bar": "synchronise", "barrier": "synchronise", "membar": "synchronise", "fence": "synchronise", "mbarrier": "synchronise",
	"bra": "control", "ret": "control", "exit": "control", "trap": "control", "nanosleep": "control", "setmaxnreg": "control", "griddepcontrol": "control",
	"fma": "float", "ex2": "float", "lg2": "float", "rcp": "float", "sqrt": "float", "rsqrt": "float", "tanh": "float", "sin": "float", "cos": "float", "copysign": "float",
}

// Class sorts an instruction by the unit of the machine it keeps busy; one of Classes.
func (in *Instr) Class() string {
	if c := classOf[in.Op]; c != "" {
		return c
	}
	switch in.Op {
	case "ld", "ldu", "st":
		for _, space := range []string{"global", "const", "shared", "local", "param"} {
			if slices.Contains(in.Mods, space) {
				return map[string]string{"global": "global memory", "const": "global memory", "shared": "shared memory", "local": "local memory", "param": "parameters"}[space]
			}
		}
		return "generic memory"
	case "add", "sub", "mul", "mad", "mul24", "div", "rem", "min", "max", "abs", "neg":
		for _, m := range in.Mods {
			if floats[m] {
				return "float"
			}
		}
		return "integer"
	}
	return "other"
}
