package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/ssl/run"
)

// printSummary prints the end of a run: time, rate and the accuracies.
func printSummary(w io.Writer, cfg *config.Config, s *run.Summary) {
	fmt.Fprintf(w, "%d steps in %s, %.0f img/s, run folder %s\n", s.Iterations, time.Duration(s.WallSeconds*float64(time.Second)).Round(time.Second),
		s.ImagesPerSecond, run.FolderOf(cfg))
	if s.KNN == nil {
		return
	}
	k := s.KNN
	fmt.Fprintf(w, "\nWeighted kNN-%d accuracy in %%, %d images of split %s against %d labelled ones\n\n", k.K, k.Queries, k.Split, k.Bank)
	table(w, []string{"", "pixels", "CLS", "mean patch"}, [][]string{
		{"raw pixels", percent(k.Raw), "", ""},
		{"untrained backbone", "", percent(k.Untrained), percent(k.UntrainedMeanPatch)},
		{"trained teacher", "", percent(k.Teacher), percent(k.TeacherMeanPatch)},
	})
}

func percent(x *float64) string {
	if x == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f", *x)
}

// table prints columns: the first to the left, the others to the right.
func table(w io.Writer, head []string, rows [][]string) {
	width := make([]int, len(head))
	for _, r := range append(rows, head) {
		for i, cell := range r {
			width[i] = max(width[i], len(cell))
		}
	}
	line := func(cells []string) {
		var b strings.Builder
		fmt.Fprintf(&b, "  %-*s", width[0], cells[0])
		for i, cell := range cells[1:] {
			fmt.Fprintf(&b, "  %*s", width[i+1], cell)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	line(head)
	for _, r := range rows {
		line(r)
	}
}
