package ptx

import (
	"fmt"
	"strings"
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
