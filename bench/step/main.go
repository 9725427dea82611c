// Command step measures one training step of a vision transformer from end to end, data loading aside, against a plain
// PyTorch loop, eager and compiled, and prints a Markdown table.
//
//	go run -tags cpu ./bench/step --python PYTHON --out bench/step.md
//
// The step is DINO's on ViT-S/16: 2 global crops of 224 and 8 local crops of 96 pixels, 65,536 prototypes, batch 4,
// f32. Each side runs in a process of its own, which also gives its peak memory; they take turns, step by step.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/dino-mx/dmx/bench/peer"
)

const batchSize = 4

//go:embed peers/torch.py
var torchSource string

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench/step: ")
	out := flag.String("out", "", "file to write the table to, beside standard output")
	python := flag.String("python", os.Getenv("PYTHON"), "a Python with torch (default $PYTHON)")
	rounds := flag.Int("rounds", 5, "steps of each side")
	serveThreads := flag.Int("serve", 0, "answer as dmx's side with this many threads (the program calls itself so)")
	flag.Parse()
	var err error
	if *serveThreads > 0 {
		err = serve(os.Stdin, os.Stdout, *serveThreads)
	} else {
		err = run(*out, *python, *rounds)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(out, python string, rounds int) error {
	dir, err := os.MkdirTemp("", "dmx-bench-step")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var w io.Writer = os.Stdout
	if out != "" {
		f, err := os.Create(out)
		if err != nil {
			return err
		}
		defer f.Close()
		w = io.MultiWriter(f, os.Stdout)
	}
	head(w)
	for _, threads := range []int{1, 2} {
		r, err := compare(dir, python, threads, rounds)
		if err != nil {
			return fmt.Errorf("%d threads: %w", threads, err)
		}
		r.write(w)
	}
	return memory(w)
}

// side is one contestant's figures.
type side struct {
	process *peer.Process
	seconds []float64
	peak    int64 // bytes
}

// result is what one number of threads gave; dmx is the first side.
type result struct {
	threads             int
	sides               []*side
	shares              []float64 // of the multiply-add peak, round by round
	heap, arena, states float64
}

func compare(dir, python string, threads, rounds int) (*result, error) {
	r := &result{threads: threads}
	defer func() {
		for _, s := range r.sides {
			s.process.Close()
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ours, err := peer.Start(exec.Command(self, "-serve", strconv.Itoa(threads)))
	if err != nil {
		return nil, err
	}
	r.sides = append(r.sides, &side{process: ours})
	for _, mode := range []string{"eager", "compiled"} {
		p, err := peer.StartPython(dir, python, torchSource, []string{mode, strconv.Itoa(threads), strconv.Itoa(batchSize)})
		if err != nil {
			log.Printf("no PyTorch: %v", err)
			break
		}
		r.sides = append(r.sides, &side{process: p})
	}
	settings := dino(batchSize)
	for range rounds {
		for i, s := range r.sides {
			time.Sleep(300 * time.Millisecond) // the threads of the one before fall asleep
			var before, after float64
			if i == 0 {
				if before, err = ours.Number("peak"); err != nil {
					return nil, err
				}
			}
			ns, err := s.process.Number("step")
			if err != nil {
				return nil, err
			}
			s.seconds = append(s.seconds, ns/1e9)
			if i == 0 {
				if after, err = ours.Number("peak"); err != nil {
					return nil, err
				}
				r.shares = append(r.shares, float64(settings.FLOPs(0))/ns/max(before, after))
			}
		}
	}
	for word, to := range map[string]*float64{"heap": &r.heap, "arena": &r.arena, "state": &r.states} {
		if *to, err = ours.Number("%s", word); err != nil {
			return nil, err
		}
	}
	for _, s := range r.sides {
		if s.peak, err = s.process.PeakMemory(); err != nil {
			return nil, err
		}
	}
	return r, nil
}
