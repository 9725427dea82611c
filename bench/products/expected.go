package main

import (
	"fmt"
	"io"

	"github.com/dino-mx/dmx/kernels/cuda"
)

// peak is the best rate that a product reached on the card of h200.csv in TFLOP/s: cuBLAS, 1024x4096x58496 TN. The
// data sheet has 989, of which the card's limit of power leaves this.
const peak = 829

// copyRate is the copy by the driver on the same card in bytes per microsecond.
const copyRate = 4.053e6

// floors are the least times of a product in microseconds: of its arithmetic, and of its bytes.
func (x *measured) floors() (arithmetic, bytes float64) {
	return x.micros(peak), float64(2*(x.m*x.k+x.n*x.k+x.m*x.n)) / copyRate
}

// short is a product whose K is so short that finishing tiles decides.
func (x *measured) short() bool { return x.k <= 1024 }

// expected lists what the model expects of version 4.
func expected(w io.Writer, list []measured) {
	fmt.Fprintf(w, "\n## Version 4, expected\n\n"+
		"Not measured: the model's times in microseconds, with no epilogue and a bf16 output as in the measurement.\n"+
		"Fitted to the measurements of version 3: the clock under load, the launch, the pace of a warp that finishes a tile\n"+
		"(6.9 clocks an instruction), the sum over parts of K. From documentation: 4,096 FLOPs and 128 bytes of shared memory a\n"+
		"clock. Counted on the interpreter: the instructions that finish a tile. Floors: arithmetic at %d TFLOP/s, the best of\n"+
		"any product on that card (cuBLAS; the data sheet has 989); bytes at the %.0f GB/s of a copy. Share is the arithmetic's\n"+
		"floor over the expected time.\n\n"+
		"| product | M x N x K | floor | bytes | cuBLAS | v3 measured | v4 plan | v4 expected | share |\n"+
		"|---|---|---:|---:|---:|---:|---|---:|---:|\n", peak, copyRate/1e3)
	for _, x := range list {
		p := cuda.PlanGemmV4(cuda.GemmEpilogue{}, x.m, x.n, x.k, h200SMs)
		arithmetic, bytes := x.floors()
		fmt.Fprintf(w, "| %s | %s | %.1f | %.1f | %.1f | %.1f | %s | %.1f | %.0f %% |\n", x.name, x.shape(),
			arithmetic, bytes, x.micros(x.torch), x.micros(x.v3), plan(p), p.Micros, 100*arithmetic/p.Micros)
	}
	fmt.Fprintf(w, "\nOf the products with K up to 1,024 these stay below 85 %%:\n\n")
	for _, x := range list {
		if p := cuda.PlanGemmV4(cuda.GemmEpilogue{}, x.m, x.n, x.k, h200SMs); x.short() {
			if arithmetic, bytes := x.floors(); arithmetic/p.Micros < 0.85 {
				fmt.Fprintf(w, "- %s %s: %.0f %%; %.1f us of %.1f are between two launches, the bytes alone take %.1f.\n",
					x.name, x.layout, 100*arithmetic/p.Micros, cuda.GemmLaunchMicros, p.Micros, bytes)
			}
		}
	}
}
