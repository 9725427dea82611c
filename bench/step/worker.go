package main

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/kernels/cpu/gemm"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/tensor"
)

// worker is a trainer in its steady state.
type worker struct {
	backend *cpu.Backend
	trainer *ssl.Trainer
	batch   ssl.Batch
	threads int
}

func newWorker(s ssl.Settings, threads int) (*worker, error) {
	w := &worker{backend: cpu.New(cpu.Options{Threads: threads}), threads: threads, batch: noise(&s)}
	m, err := ssl.Build(w.backend, tensor.F32, s, ssl.Sources{})
	if err == nil {
		w.trainer, err = ssl.NewTrainer(m)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	for range 2 { // the second step finds all memory in place
		if err := w.step(); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

func (w *worker) step() error {
	_, err := w.trainer.Step(w.batch)
	return err
}

func (w *worker) peak() float64 { return gemm.PeakGFLOPS(w.threads) }

func (w *worker) close() { w.backend.Close() }

// serve answers the questions of package peer's protocol: "step" with nanoseconds, "peak" with GFLOP/s, "heap" with
// the bytes a step takes from the Go heap, "arena" and "state" with the bytes the trainer holds.
func serve(in io.Reader, out io.Writer, threads int) error {
	w, err := newWorker(dino(batchSize), threads)
	if err != nil {
		return err
	}
	defer w.close()
	fmt.Fprintf(out, "dmx %s\n", w.backend.Name())
	for lines := bufio.NewScanner(in); lines.Scan(); {
		switch lines.Text() {
		case "step":
			start := time.Now()
			if err := w.step(); err != nil {
				return err
			}
			fmt.Fprintln(out, time.Since(start).Nanoseconds())
		case "peak":
			fmt.Fprintln(out, w.peak())
		case "heap":
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if err := w.step(); err != nil {
				return err
			}
			runtime.ReadMemStats(&after)
			fmt.Fprintln(out, after.TotalAlloc-before.TotalAlloc)
		case "arena":
			fmt.Fprintln(out, w.trainer.Memory().Peak)
		case "state":
			fmt.Fprintln(out, w.trainer.Memory().State)
		default:
			return fmt.Errorf("what is %q", lines.Text())
		}
	}
	return nil
}
