package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"slices"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/kernels/cuda"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("products: ")
	list, err := readMeasured(h200)
	if err != nil {
		log.Fatal(err)
	}
	w := bufio.NewWriter(os.Stdout)
	fmt.Fprintf(w, "# Matrix products: measured and expected\n\nWritten by `go run -tags cpu ./bench/products`.\n\n")
	plans(w, list)
	expected(w, list)
	if err := counters(w); err != nil {
		log.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		log.Fatal(err)
	}
}

// plans compares version 3 as measured with the model, and the plans of those measurements with those of the model.
func plans(w io.Writer, list []measured) {
	fmt.Fprint(w, "## The model against version 3, and the plans it chooses\n\n"+
		"Measured on an NVIDIA H200 on 2026-11-28 (bench/products/h200.csv says how); times in microseconds. A plan is the\n"+
		"width of the tiles and the number of parts of K. The first plan is that of the measurement, chosen by clocks from\n"+
		"documentation alone; the last is what the calibrated model chooses, with the time that it expects.\n\n"+
		"| product | M x N x K | plan | measured | expected | error | new plan | expected |\n"+
		"|---|---|---|---:|---:|---:|---|---:|\n")
	var errs []float64
	for _, x := range list {
		p := cuda.GemmV3Tiles(x.m, x.n, x.k, h200SMs, x.tileN, x.splits)
		best := cuda.PlanGemmV3(x.m, x.n, x.k, h200SMs)
		e := p.Micros/x.micros(x.v3) - 1
		errs = append(errs, math.Abs(e))
		fmt.Fprintf(w, "| %s | %s | %s | %.1f | %.1f | %+.1f %% | %s | %.1f |\n", x.name, x.shape(), plan(p),
			x.micros(x.v3), p.Micros, 100*e, plan(best), best.Micros)
	}
	fmt.Fprintf(w, "\nError of the model: median %.1f %%, largest %.1f %%.\n",
		100*peer.Median(errs), 100*slices.Max(errs))
}

func plan(p cuda.GemmPlan) string {
	if p.Splits == 1 {
		return fmt.Sprint(p.TileN)
	}
	return fmt.Sprintf("%d, %d parts", p.TileN, p.Splits)
}
