package syntax

import (
	"cmp"
	"slices"
)

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
	used := make([]bool, len(k.Regs))
	var mark func(o Operand)
	mark = func(o Operand) {
		if (o.Kind == RegOperand || o.Kind == AddrOperand) && o.Reg >= 0 {
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
	for i, r := range k.Regs {
		j, ok := at[r.Type]
		if !ok {
			j = len(list)
			at[r.Type] = j
			list = append(list, RegisterCount{Type: r.Type})
		}
		list[j].Declared++
		if used[i] {
			list[j].Used++
		}
	}
	return list
}

// Dynamic tells whether the kernel names the module's shared array without a size, whose bytes a launch gives.
func (k *Kernel) Dynamic() bool { return k.Extern != nil && k.mentions(k.Extern.Name) }

// mentions reports whether an operand of the kernel names the variable: a shared variable of the module takes
// room only in the blocks of kernels that use it.
func (k *Kernel) mentions(name string) bool {
	for i := range k.Code {
		for _, a := range k.Code[i].Args {
			if a.Name == name {
				return true
			}
		}
	}
	return false
}
