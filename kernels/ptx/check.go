package ptx

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// LineError is a mistake in PTX text.
type LineError struct {
	Line   int // from 1
	Reason string
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

func lineErrorf(line int, format string, args ...any) error {
	return &LineError{Line: line, Reason: fmt.Sprintf(format, args...)}
}

// Check parses PTX and compiles every kernel, as running it would, and returns all mistakes in the order of their
// lines: unknown instructions, modifiers and types, wrong operands, undeclared registers and labels. The first
// mistake in the grammar ends the search; those inside well-formed instructions are all found. The module is nil
// only if the text is not PTX.
func Check(src string) (*Module, []*LineError) {
	mod, err := Parse(src)
	if err != nil {
		return nil, []*LineError{asLineError(err)}
	}
	var found []*LineError
	if mod.Version == "" || mod.Target == "" {
		found = append(found, &LineError{1, "no .version or no .target: both stand before the first kernel"})
	}
	for _, k := range mod.Kernels {
		_, errs := compile(mod, k)
		for _, err := range errs {
			found = append(found, asLineError(err))
		}
	}
	slices.SortFunc(found, func(a, b *LineError) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Reason, b.Reason))
	})
	return mod, found
}

func asLineError(err error) *LineError {
	var at *LineError
	if errors.As(err, &at) {
		return at
	}
	return &LineError{1, err.Error()}
}

// Ordered lists the kernels in the order of the file.
func (m *Module) Ordered() []*Kernel {
	list := make([]*Kernel, 0, len(m.Kernels))
	for _, k := range m.Kernels {
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b *Kernel) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Name, b.Name)) })
	return list
}

// RegisterCount says how many registers of one type a kernel declares and how many of them its instructions name.
type RegisterCount struct {
	Type           string // as declared: "b32", "f32", "pred"
	Declared, Used int
}

// Registers counts the kernel's registers by type, in the order of their first declaration.
func (k *Kernel) Registers() []RegisterCount {
	used := make([]bool, len(k.regs))
	var mark func(o Operand)
	mark = func(o Operand) {
		if (o.Kind == opReg || o.Kind == opAddr) && o.Reg >= 0 {
			used[o.Reg] = true
		}
		for _, e := range o.Elems {
			mark(e)
		}
	}
	for i := range k.Code {
		if g := k.Code[i].Guard; g >= 0 {
			used[g] = true
		}
		for _, o := range k.Code[i].Args {
			mark(o)
		}
	}
	var list []RegisterCount
	at := map[string]int{}
	for i, r := range k.regs {
		j, ok := at[r.typ]
		if !ok {
			j = len(list)
			at[r.typ] = j
			list = append(list, RegisterCount{Type: r.typ})
		}
		list[j].Declared++
		if used[i] {
			list[j].Used++
		}
	}
	return list
}

// Dynamic tells whether the kernel names the module's shared array without a size, whose bytes a launch gives.
func (k *Kernel) Dynamic() bool { return k.dynamic != nil && k.mentions(k.dynamic.Name) }
