package main

import (
	"fmt"
	"strings"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

type ptxCheckCmd struct {
	File string `arg:"" help:"PTX file."`
}

// Help is shown by dmx ptx check --help.
func (ptxCheckCmd) Help() string {
	return `Every instruction is compiled as dmx ptx run would: unknown opcodes, modifiers and types, wrong operands, registers and labels that are not declared are reported as FILE:LINE: reason. Then every kernel is listed with what it takes.

Example: dmx ptx check tools/dmx/testdata/scale.ptx`
}

// Run prints what the file holds.
func (c *ptxCheckCmd) Run(io streams) error {
	mod, err := readPTX(c.File, io)
	if err != nil {
		return err
	}
	fmt.Fprintf(io.out, "%s: good; PTX %s for %s, %s\n", c.File, mod.Version, mod.Target, plural(len(mod.Kernels), "kernel"))
	for _, k := range mod.Ordered() {
		fmt.Fprintf(io.out, "\n%s:%d: kernel %s, %s\n", c.File, k.Line, k.Name, plural(len(k.Code), "instruction"))
		for i, p := range k.Params {
			fmt.Fprintf(io.out, "  parameter %d   %-8s %s\n", i, paramType(p), p.Name)
		}
		var regs []string
		for _, r := range k.Registers() {
			regs = append(regs, fmt.Sprintf("%d of %d .%s", r.Used, r.Declared, r.Type))
		}
		if len(regs) > 0 {
			fmt.Fprintf(io.out, "  registers     %s (used of declared, per thread)\n", strings.Join(regs, ", "))
		}
		shared := fmt.Sprintf("%d bytes", k.SharedLen)
		if k.Dynamic() {
			shared += ", and what --shared gives"
		}
		fmt.Fprintf(io.out, "  shared memory %s\n", shared)
		if k.LocalLen > 0 {
			fmt.Fprintf(io.out, "  local memory  %d bytes per thread\n", k.LocalLen)
		}
		if k.MaxNTid > 0 {
			fmt.Fprintf(io.out, "  threads       at most %d\n", k.MaxNTid)
		}
	}
	return nil
}

// paramType returns a parameter's type as PTX writes it: .u64, or .b8[12] for a structure.
func paramType(p syntax.Param) string {
	if one := map[string]int{"8": 1, "16": 2, "32": 4, "64": 8}[strings.TrimLeft(p.Type, "abcdefghijklmnopqrstuvwxyz")]; one != 0 && one != p.Size {
		return fmt.Sprintf(".%s[%d]", p.Type, p.Size/one)
	}
	return "." + p.Type
}
