package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/dino-mx/dmx/tensor/safetensors"
)

// writeTable writes the medians of one file. A ratio is the median over the rounds of the peer's time over ours that
// ends in the same state.
func writeTable(w io.Writer, size int64, dtype safetensors.DType, blocks int, sides []*side) {
	fmt.Fprintf(w, "\n## %d blocks of ViT-g in %s, a file of %.2f GB\n\n", blocks, dtype, float64(size)/1e9)
	fmt.Fprint(w, "| ends in | side | weights | own memory | seconds | GB/s of file | peak beyond the weights | share of the weights | time / dmx |\n|---|---|---|---|---|---|---|---|---|\n")
	var ours *side
	for _, s := range sides {
		if ours == nil || ours.state != s.state {
			ours = s
		}
		ratios := make([]float64, len(s.seconds))
		for i := range ratios {
			ratios[i] = s.seconds[i] / ours.seconds[i]
		}
		t, extra := median(s.seconds), median(s.extra)
		fmt.Fprintf(w, "| %s | %s | %.2f GB | %.2f GB | %.3f | %.2f | %.1f MB | %.1f %% | %.2f |\n",
			s.state, s.name, s.weights/1e9, median(s.own)/1e9, t, float64(size)/1e9/t, extra/1e6, 100*extra/s.weights, median(ratios))
	}
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}
