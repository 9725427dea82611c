package main

import (
	"fmt"
	"io"

	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

type ptxStatsCmd struct {
	launchFlags
}

// Help is shown by dmx ptx stats --help.
func (ptxStatsCmd) Help() string {
	return `Without --block every kernel's instructions are counted by class as they stand in the file. With --block and arguments, as for dmx ptx run, the kernel runs once and the counts are those of the instructions executed by warps, with what they did to memory: 32-byte sectors of global memory and bank cycles of shared memory, each beside the least possible for the bytes asked for. Instructions that need more than the least are listed.

` + argumentHelp + `

Examples:
  dmx ptx stats gemm.ptx --kernel gemm
  dmx ptx stats tools/dmx/testdata/scale.ptx --block 256 --grid 4 --arg buf:f32:1000=iota --arg f32:0.5 --arg i32:1000`
}

// Run prints the counts.
func (c *ptxStatsCmd) Run(io streams) error {
	mod, err := readPTX(c.File, io)
	if err != nil {
		return err
	}
	if len(c.Block) == 0 {
		if len(c.Arg) > 0 {
			return usageError{fmt.Errorf("--arg without --block: a run needs the threads per block")}
		}
		kernels := mod.Ordered()
		if c.Kernel != "" {
			k, err := kernelOf(c.File, mod, c.Kernel)
			if err != nil {
				return err
			}
			kernels = []*syntax.Kernel{k}
		}
		for i, k := range kernels {
			if i > 0 {
				fmt.Fprintln(io.out)
			}
			fmt.Fprintf(io.out, "%s:%d: kernel %s, %s\n", c.File, k.Line, k.Name, plural(len(k.Code), "instruction"))
			printClasses(io.out, k, nil)
		}
		return nil
	}
	l, err := c.prepare(mod)
	if err != nil {
		return err
	}
	o, err := l.run(1)
	if err != nil {
		return err
	}
	l.printFindings(io.err, o.findings, map[string]bool{}, 1)
	fmt.Fprintf(io.out, "%s\n%d warp instructions\n", l.title(), o.counters.Instructions)
	printClasses(io.out, l.kernel, o.counters)
	printMemory(io.out, c.File, o.counters)
	if n := len(o.findings); n > 0 {
		return fmt.Errorf("%s: kernel %s: %s", c.File, l.kernel.Name, plural(n, "finding"))
	}
	return nil
}

// printClasses prints the number of instructions by class, in the file and, if counted, as executed.
func printClasses(w io.Writer, k *syntax.Kernel, counted *ptx.Counters) {
	static, executed := map[string]int64{}, map[string]int64{}
	total := int64(0)
	for i := range k.Code {
		class := k.Code[i].Class()
		static[class]++
		if counted != nil {
			executed[class] += counted.PerInstr[i].Execs
			total += counted.PerInstr[i].Execs
		}
	}
	head := []string{"class", "instructions", "%"}
	if counted != nil {
		head = append(head, "executed", "%")
	}
	var rows [][]string
	for _, class := range syntax.Classes {
		if static[class] == 0 {
			continue
		}
		row := []string{class, fmt.Sprint(static[class]), share(static[class], int64(len(k.Code)))}
		if counted != nil {
			row = append(row, fmt.Sprint(executed[class]), share(executed[class], total))
		}
		rows = append(rows, row)
	}
	table(w, head, rows)
}

func share(n, of int64) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", 100*float64(n)/float64(of))
}

// printMemory prints the memory accesses of the executed instructions, and which of them access more than needed.
func printMemory(w io.Writer, file string, counted *ptx.Counters) {
	var global, shared ptx.InstrCount
	var costly [][]string
	for _, in := range counted.PerInstr {
		if in.Sectors > 0 {
			global.Execs += in.Execs
		}
		if in.Wavefronts > 0 {
			shared.Execs += in.Execs
		}
		global.Sectors += in.Sectors
		global.IdealSectors += in.IdealSectors
		global.Bytes += in.Bytes
		shared.Wavefronts += in.Wavefronts
		shared.IdealWavefronts += in.IdealWavefronts
		if in.Sectors > in.IdealSectors {
			costly = append(costly, []string{fmt.Sprintf("%s:%d", file, in.Line), in.Text, fmt.Sprint(in.Execs), per(in.Sectors, in.Execs), per(in.IdealSectors, in.Execs), "sectors"})
		}
		if in.Wavefronts > in.IdealWavefronts {
			costly = append(costly, []string{fmt.Sprintf("%s:%d", file, in.Line), in.Text, fmt.Sprint(in.Execs), per(in.Wavefronts, in.Execs), per(in.IdealWavefronts, in.Execs), "bank cycles"})
		}
	}
	fmt.Fprintf(w, "global memory: %d requests, %d bytes, %s sectors of 32 bytes per request, least possible %s\n", global.Execs, global.Bytes, per(global.Sectors, global.Execs), per(global.IdealSectors, global.Execs))
	fmt.Fprintf(w, "shared memory: %d requests, %s bank cycles per request, least possible %s\n", shared.Execs, per(shared.Wavefronts, shared.Execs), per(shared.IdealWavefronts, shared.Execs))
	if len(costly) > 0 {
		fmt.Fprintln(w, "more than the least possible, per execution:")
		table(w, []string{"where", "instruction", "executed", "used", "least", "of"}, costly)
	}
}

func per(n, of int64) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(n)/float64(of))
}
