// Command gpu measures the GPU backend against PyTorch on the same card in one run, and prints Markdown tables.
//
//	outputs/gpu/bench.sh        what just gpu-bench runs; just gpu-build makes it
//
// It needs no Go: a driver, Python and PyTorch. The sections are
//
//	gemm       the matrix product, every version, against cuBLAS (torch.mm)
//	attention  forward and backward over packed sequences against scaled_dot_product_attention
//	memory     kernels that only move bytes, as a share of the measured copy bandwidth
//	step       one DINOv2 step against a plain PyTorch loop, eager and compiled
//	profile    device time of every launch of one step, by operation and shape, beside its floor
//	start      process start to the first kernel, and what a launch costs
//
// Contestants take turns, round by round; figures are medians. Operands are drawn from a normal distribution, and
// memory larger than the caches is written before every repeat. With -dry the interpreter stands in for the GPU and
// everything is tiny: nothing real is measured. -curves compares training runs instead (see curves.sh).
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bench is one run of the program.
type bench struct {
	device  string // cuda:N, or emulated-cuda
	dry     bool
	python  string
	rounds  int
	models  []string
	scratch string // folder for the peers' scripts
	sides   []string
	table   *table // of the section that is being measured
}

// section is one table.
type section struct {
	name string
	run  func(*bench, *table) error
}

// sections in the order of the tables.
var sections = []section{{"gemm", gemmSection}, {"attention", attentionSection}, {"memory", memorySection}, {"step", stepSection}, {"profile", profileSection}, {"start", startSection}}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench/gpu: ")
	b := &bench{}
	flag.StringVar(&b.device, "device", "cuda:0", "GPU to measure")
	flag.BoolVar(&b.dry, "dry", false, "try everything at tiny sizes on the interpreter and on the CPU; measures nothing real")
	flag.StringVar(&b.python, "python", os.Getenv("PYTHON"), "a Python with torch (default $PYTHON); without one dmx is measured alone")
	flag.IntVar(&b.rounds, "rounds", 5, "turns of each contestant")
	models := flag.String("models", "S,B", "vision transformers of the sections step and profile: S, B, L")
	sides := flag.String("sides", strings.Join(allSides, ","), "contestants of the step section; compiled is measured last, since compiling takes minutes")
	out := flag.String("out", "outputs/gpu/results", "folder for the tables")
	only := flag.String("only", "", "sections to run, separated by commas; the tables of the others stay as they are")
	compared := flag.String("curves", "", "compare these run folders, separated by commas, instead of measuring")
	first := flag.Bool("first-kernel", false, "run one kernel, say so and end (the program calls itself so)")
	flag.Parse()
	b.models, b.sides = strings.Split(*models, ","), strings.Split(*sides, ",")
	if b.dry {
		b.device, b.rounds, b.models = emulated, 2, []string{"micro"}
	}
	var err error
	switch {
	case *first:
		err = firstKernel(b.device)
	case *compared != "":
		err = curves(*compared)
	default:
		err = b.run(*out, *only)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func (b *bench) run(out, only string) error {
	var wanted []string
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	if b.sides == nil {
		b.sides = allSides
	}
	for _, side := range b.sides {
		if !slices.Contains(allSides, side) {
			return fmt.Errorf("-sides %s: the sides are %s", side, strings.Join(allSides, ", "))
		}
	}
	if !slices.Contains(b.sides, "dmx") {
		return fmt.Errorf("-sides %s: dmx, which the others are compared with, is missing", strings.Join(b.sides, ","))
	}
	for _, w := range wanted {
		if !slices.ContainsFunc(sections, func(s section) bool { return s.name == w }) {
			return fmt.Errorf("-only %s: the sections are gemm, attention, memory, step, profile and start", w)
		}
	}
	if b.dry {
		fmt.Print("DRY RUN: an interpreter on the CPU stands in for the GPU. Every number below is meaningless.\n\n")
	}
	var err error
	if b.scratch, err = os.MkdirTemp("", "dmx-bench-gpu"); err != nil {
		return err
	}
	defer os.RemoveAll(b.scratch)
	if err := os.MkdirAll(out, 0o777); err != nil {
		return err
	}
	var failed []error
	for _, s := range sections {
		if len(wanted) > 0 && !slices.Contains(wanted, s.name) {
			continue
		}
		head, err := b.head()
		if err != nil {
			return err
		}
		t := &table{head: head, path: filepath.Join(out, s.name+".md")}
		b.table = t
		if err := s.run(b, t); err != nil {
			// The other sections are worth having all the same.
			err = fmt.Errorf("%s: %w", s.name, err)
			log.Print(err)
			failed = append(failed, err)
			t.printf("\nThis section ended early: %v\n", err)
		}
		t.save()
	}
	return errors.Join(append(failed, b.assemble(out))...)
}

// assemble joins the tables of all sections that have been run.
func (b *bench) assemble(out string) error {
	all := "# The GPU backend beside PyTorch\n\nWritten by `just gpu-bench` (or `outputs/gpu/bench.sh` on a machine without Go).\n"
	if b.dry {
		all = "# A dry run: nothing here was measured\n"
	}
	for _, s := range sections {
		text, err := os.ReadFile(filepath.Join(out, s.name+".md"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		all += "\n" + string(text)
	}
	path := filepath.Join(out, "gpu.md")
	if err := os.WriteFile(path, []byte(all), 0o666); err != nil {
		return err
	}
	fmt.Println("written:", path)
	return nil
}
