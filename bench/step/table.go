package main

import (
	"fmt"
	"io"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/tensor"
)

func head(w io.Writer) {
	s := dino(batchSize)
	fmt.Fprintf(w, "# One DINO step on the CPU, f32\n\n%s- Command: `go run -tags cpu ./bench/step %s`\n", peer.Machine(), peer.ShownArgs())
	fmt.Fprintf(w, "- Step: ViT-S/16, 2 x 224 and 8 x 96 pixels, 65,536 prototypes, batch %d: %.0f GFLOP counted\n\n", batchSize, float64(s.FLOPs(0))/1e9)
	fmt.Fprint(w, "Medians over steps in which all sides take turns. Peak is a loop of multiply-adds on registers, measured before and after each\n")
	fmt.Fprint(w, "of dmx's steps. Memory is the process's largest resident set, libraries included.\n\n")
	fmt.Fprint(w, "| threads | side | seconds a step | img/s | of peak | memory, MiB | dmx is faster by | dmx's memory |\n|---|---|---|---|---|---|---|---|\n")
}

func (r *result) write(w io.Writer) {
	ours := r.sides[0]
	mine := peer.Median(ours.seconds)
	fmt.Fprintf(w, "| %d | %s | %.2f | %.3f | %.0f %% | %d | | |\n", r.threads, ours.process.Name, mine, batchSize/mine, 100*peer.Median(r.shares), ours.peak>>20)
	for _, s := range r.sides[1:] {
		t := peer.Median(s.seconds)
		fmt.Fprintf(w, "| %d | %s | %.2f | %.3f | | %d | %.2f x | %.2f x |\n", r.threads, s.process.Name, t, batchSize/t, s.peak>>20, t/mine, float64(ours.peak)/float64(s.peak))
	}
	fmt.Fprintf(w, "| %d | dmx, Go heap taken by a steady step | | | | %.3f | | |\n", r.threads, r.heap/(1<<20))
	fmt.Fprintf(w, "| %d | dmx, step arena at its peak + weights, moments and teacher | | | | %.0f + %.0f | | |\n", r.threads, r.arena/(1<<20), r.states/(1<<20))
}

// memory lists the count of what the arena holds at the peak of the step.
func memory(w io.Writer) error {
	b := cpu.New(cpu.Options{Threads: 1})
	defer b.Close()
	s := dino(batchSize)
	m, err := ssl.Build(b, tensor.F32, s, ssl.Sources{})
	if err != nil {
		return err
	}
	t, err := ssl.NewTrainer(m)
	if err != nil {
		return err
	}
	fmt.Fprint(w, "\nWhat the arena holds at the peak of a step, counted by the code. Logits over the prototypes live one chunk of rows at a\n")
	fmt.Fprint(w, "time, and their gradient is written over them: no [rows, 65,536] buffer outlives its chunk.\n\n| part | MiB |\n|---|---:|\n")
	total := 0
	for _, share := range t.StepMemory(0) {
		if share.Bytes > 0 {
			fmt.Fprintf(w, "| %s | %.1f |\n", share.What, float64(share.Bytes)/(1<<20))
		}
		total += share.Bytes
	}
	fmt.Fprintf(w, "| total | %.1f |\n", float64(total)/(1<<20))
	return nil
}
