package ptx

import (
	"fmt"
	"slices"
)

// requirement is the architecture that an instruction needs (PTX ISA, target notes).
type requirement struct {
	op       string
	modifier string // that the instruction must have, "" for any
	sm       int
	exact    bool // only the architecture-specific target: sm_90a
}

var requirements = []requirement{
	{"wgmma", "", 90, true}, {"setmaxnreg", "", 90, true},
	{"cp", "bulk", 90, false}, {"cp", "async", 80, false},
	{"mbarrier", "try_wait", 90, false}, {"mbarrier", "expect_tx", 90, false}, {"mbarrier", "complete_tx", 90, false},
	{"mbarrier", "", 80, false}, {"mapa", "", 90, false}, {"barrier", "cluster", 90, false},
	{"fence", "proxy", 90, false}, {"fence", "mbarrier_init", 90, false},
	{"elect", "", 90, false}, {"stmatrix", "", 90, false}, {"griddepcontrol", "", 90, false}, {"redux", "", 80, false},
	{"add", "bf16", 90, false}, {"add", "bf16x2", 90, false}, {"sub", "bf16", 90, false}, {"sub", "bf16x2", 90, false},
	{"mul", "bf16", 90, false}, {"mul", "bf16x2", 90, false}, {"setp", "bf16", 90, false},
	{"fma", "bf16", 80, false}, {"fma", "bf16x2", 80, false}, {"cvt", "bf16", 80, false}, {"cvt", "bf16x2", 80, false},
}

// target checks that the module is for an architecture that has the instruction.
func (c *compiler) target() error {
	var sm int
	var suffix string
	fmt.Sscanf(c.mod.Target, "sm_%d%s", &sm, &suffix)
	for _, r := range requirements {
		if r.op != c.in.Op || r.modifier != "" && !slices.Contains(c.in.Mods, r.modifier) {
			continue
		}
		name := fmt.Sprintf("sm_%d", r.sm)
		if r.exact {
			name += "a"
		}
		if sm < r.sm || r.exact && c.mod.Target != name {
			return fmt.Errorf("needs .target %s, the module has %q", name, c.mod.Target)
		}
	}
	return nil
}
