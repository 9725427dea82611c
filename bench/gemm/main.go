// Command gemm measures the CPU matrix product against OpenBLAS, against PyTorch's MKL, and against the
// multiply-add peak of the machine, and prints a Markdown table.
//
//	go run -tags cpu ./bench/gemm --python PYTHON --out bench/gemm.md
//
// OpenBLAS is reached by a small C program that gcc compiles into a temporary folder, MKL by a Python with torch;
// either is left out where it is missing. All contestants run in turns, round by round, on data of their own, each
// once the threads of the one before sleep, so that a change of clock or a neighbour meets all of them; the figures are
// medians over the rounds.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench/gemm: ")
	isa := flag.String("isa", vec.Best.String(), "instruction set: avx512, avx2 or generic; the peers are held to it as well")
	out := flag.String("out", "", "file to write the table to, beside standard output")
	python := flag.String("python", os.Getenv("PYTHON"), "a Python with torch (default $PYTHON)")
	rounds := flag.Int("rounds", 7, "rounds of each row")
	only := flag.String("only", "", "measure only rows whose name contains this")
	flag.Parse()
	if err := run(*isa, *out, *python, *rounds, *only); err != nil {
		log.Fatal(err)
	}
}

func run(isaName, out, python string, rounds int, only string) error {
	isa := vec.Generic
	for isa < vec.Best && isa.String() != isaName {
		isa++
	}
	if isa.String() != isaName {
		return fmt.Errorf("--isa %s: this machine has nothing above %s", isaName, vec.Best)
	}
	vec.Use(isa)
	dir, err := os.MkdirTemp("", "dmx-bench-gemm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	contestants := []contestant{newOurs()}
	blas, err := startBLAS(dir, isa)
	if err != nil {
		log.Printf("no OpenBLAS: %v", err)
	} else {
		contestants = append(contestants, blas)
	}
	torch, err := startTorch(dir, python, isa)
	if err != nil {
		log.Printf("no PyTorch: %v", err)
	} else {
		contestants = append(contestants, torch)
	}
	defer func() {
		for _, c := range contestants {
			c.close()
		}
	}()
	var w io.Writer = os.Stdout
	if out != "" {
		f, err := os.Create(out)
		if err != nil {
			return err
		}
		defer f.Close()
		w = io.MultiWriter(f, os.Stdout)
	}
	// A round is the whole table: what a neighbour on the machine does for a few seconds meets one round of some rows,
	// and not all rounds of one.
	var rows []*row
	for _, threads := range []int{1, 2} {
		for _, s := range shapes() {
			if strings.Contains(s.name(), only) {
				rows = append(rows, &row{shape: s, threads: threads})
			}
		}
	}
	for round := range rounds {
		for _, r := range rows {
			if err := r.measure(contestants); err != nil {
				return fmt.Errorf("%s, %d threads: %w", r.name(), r.threads, err)
			}
		}
		log.Printf("round %d of %d", round+1, rounds)
	}
	t := newTable(w, isa, contestants, "go run -tags cpu ./bench/gemm "+peer.ShownArgs())
	for _, r := range rows {
		t.row(r)
	}
	t.summary()
	return nil
}
