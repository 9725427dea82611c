package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/dino-mx/dmx/ssl/run"
)

// record is what a curve needs of a line of metrics.jsonl. A loss that was not finite, or not measured, is absent.
type record struct {
	Iteration int      `json:"iteration"`
	Loss      *float64 `json:"loss"`
}

// stretch is some steps of a curve.
type stretch struct {
	n         int
	mean, std float64 // of the loss
}

// windows is how many stretches the shorter curve is cut into.
const windows = 20

// readCurve reads the losses of a run folder by step; a step without a record, or without a loss, has NaN.
func readCurve(folder string) (losses []float64, err error) {
	path := filepath.Join(folder, "metrics.jsonl")
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if r.Iteration < len(losses) || r.Iteration > 1e9 {
			return nil, fmt.Errorf("%s:%d: step %d after %d steps", path, n, r.Iteration, len(losses))
		}
		for len(losses) < r.Iteration {
			losses = append(losses, math.NaN())
		}
		loss := math.NaN()
		if r.Loss != nil {
			loss = *r.Loss
		}
		losses = append(losses, loss)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(losses) == 0 {
		return nil, fmt.Errorf("%s: no step", path)
	}
	return losses, nil
}

// cut is mean and standard deviation of the losses of some steps, those left out that have none.
func cut(losses []float64) (w stretch) {
	sum, squares := 0.0, 0.0
	for _, v := range losses {
		if !math.IsNaN(v) {
			w.n++
			sum += v
			squares += v * v
		}
	}
	if w.n > 0 {
		w.mean = sum / float64(w.n)
		w.std = math.Sqrt(math.Max(0, squares/float64(w.n)-w.mean*w.mean))
	}
	return w
}

// curves compares runs of one recipe, in folders separated by commas: their losses over the steps that all have made,
// and their kNN accuracies.
func curves(list string) error {
	folders := strings.Split(list, ",")
	if len(folders) < 2 {
		return errors.New("-curves: expected at least two run folders, separated by commas")
	}
	var all [][]float64
	steps := math.MaxInt
	for _, f := range folders {
		c, err := readCurve(f)
		if err != nil {
			return err
		}
		all, steps = append(all, c), min(steps, len(c))
	}
	fmt.Printf("## Curves over the first %d steps\n\nMean loss of %d stretches; off: the difference to the first run, in standard deviations of the loss within the stretch.\n\n| steps |", steps, min(windows, steps))
	for i, f := range folders {
		fmt.Printf(" %s |", filepath.Base(f))
		if i > 0 {
			fmt.Print(" off |")
		}
	}
	fmt.Printf("\n|---|%s\n", strings.Repeat("---:|", 2*len(folders)-1))
	worst := 0.0
	for w := range min(windows, steps) {
		lo, hi := w*steps/min(windows, steps), (w+1)*steps/min(windows, steps)
		first := cut(all[0][lo:hi])
		fmt.Printf("| %d to %d | %.4f |", lo, hi-1, first.mean)
		for _, c := range all[1:] {
			s := cut(c[lo:hi])
			if first.n == 0 || s.n == 0 {
				fmt.Print(" | |")
				continue
			}
			off := math.Abs(s.mean-first.mean) / math.Max(math.Max(s.std, first.std), 1e-12)
			worst = math.Max(worst, off)
			fmt.Printf(" %.4f | %.2f |", s.mean, off)
		}
		fmt.Println()
	}
	fmt.Printf("\n- Largest difference of a stretch: %.2f standard deviations\n\n", worst)
	fmt.Print("| run | backend | steps | img/s | kNN raw | untrained | teacher | teacher, mean patch |\n|---|---|---:|---:|---:|---:|---:|---:|\n")
	for i, f := range folders {
		s, err := run.ReadSummary(f)
		if err != nil {
			return err
		}
		if s == nil {
			return fmt.Errorf("%s: no summary.json", f)
		}
		fmt.Printf("| %s | %s | %d | %.0f |", filepath.Base(f), s.Backend, len(all[i]), s.ImagesPerSecond)
		if k := s.KNN; k != nil {
			for _, v := range []*float64{k.Raw, k.Untrained, k.Teacher, k.TeacherMeanPatch} {
				if v == nil {
					fmt.Print(" |")
				} else {
					fmt.Printf(" %.2f |", *v)
				}
			}
		} else {
			fmt.Print(" | | | |")
		}
		fmt.Println()
	}
	return nil
}
