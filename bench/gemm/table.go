package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
)

// table prints rows as Markdown.
type table struct {
	w           io.Writer
	contestants []contestant
	rows        []*row
}

func newTable(w io.Writer, isa vec.ISA, contestants []contestant, command string) *table {
	t := &table{w: w, contestants: contestants}
	fmt.Fprintf(w, "# Matrix product, f32, %s\n\n", isa)
	fmt.Fprint(w, peer.Machine())
	fmt.Fprintf(w, "- Command: `%s`\n", strings.TrimSpace(command))
	for _, c := range contestants[1:] {
		fmt.Fprintf(w, "- Against: %s\n", c.name())
	}
	fmt.Fprint(w, "\nSpeeds are GFLOP/s, medians over rounds of the whole table in which all take turns. Peak is a loop of multiply-adds on\nregisters, measured before and after each of dmx's turns. Rows are M x N x K; the first letter says whether A lies\ntransposed in memory, the second B.\n")
	head, line := "\n| product | kind | threads | dmx | of peak |", "|---|---|---|---|---|"
	for _, c := range contestants[1:] {
		short := strings.Fields(c.name())[0]
		head += fmt.Sprintf(" %s | ratio |", short)
		line += "---|---|"
	}
	fmt.Fprintf(w, "%s\n%s\n", head, line)
	return t
}

func (t *table) row(r *row) {
	t.rows = append(t.rows, r)
	fmt.Fprintf(t.w, "| %s | %s | %d | %.0f | %.0f %% |", r.name(), r.what, r.threads, r.speed(0), 100*r.share())
	for i := range t.contestants[1:] {
		v := r.speed(i + 1)
		fmt.Fprintf(t.w, " %.0f | %.2f |", v, r.speed(0)/v)
	}
	fmt.Fprintln(t.w)
}

// summary gives the figures that a bar is set for.
func (t *table) summary() {
	if len(t.rows) == 0 {
		return
	}
	var large, all []float64
	least, worst := 2.0, ""
	ratios := make([][]float64, len(t.contestants))
	for _, r := range t.rows {
		share := r.share()
		all = append(all, share)
		if r.m >= 1000 {
			large = append(large, share)
			if share < least {
				least, worst = share, fmt.Sprintf("%s, %d threads", r.name(), r.threads)
			}
		}
		for i := range ratios {
			ratios[i] = append(ratios[i], r.speed(0)/r.speed(i))
		}
	}
	fmt.Fprintf(t.w, "\n- Share of peak, median of all rows: %.0f %%\n", 100*peer.Median(all))
	if len(large) > 0 {
		fmt.Fprintf(t.w, "- Share of peak where M >= 1000: median %.0f %%, least %.0f %% (%s)\n", 100*peer.Median(large), 100*least, worst)
	}
	for i, c := range t.contestants[1:] {
		better := 0
		for _, v := range ratios[i+1] {
			if v >= 1 {
				better++
			}
		}
		fmt.Fprintf(t.w, "- Ratio to %s: median %.2f; at least 1 in %d of %d rows\n", c.name(), peer.Median(ratios[i+1]), better, len(ratios[i+1]))
	}
}
