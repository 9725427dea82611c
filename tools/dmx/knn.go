package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/dino-mx/dmx/ssl/run"
)

type knnCmd struct {
	Checkpoint  string  `required:"" help:"Run folder (its newest teacher), or a model folder with config.json." placeholder:"DIR" predictor:"folder"`
	Data        string  `required:"" help:"Images with labels: class folders, IDX folder, or .npz file." placeholder:"DIR" predictor:"folder"`
	Layout      string  `enum:"auto,classes,splits,flat,archives" default:"auto" help:"What the folders of the data are: classes, splits, or flat for neither; archives reads the tar or IDX files beside pictures; auto finds out."`
	Bank        string  `help:"Split of the labelled neighbours." default:"train"`
	Split       string  `help:"Split that is classified; auto takes test, else val." default:"auto"`
	K           int     `help:"Neighbours." default:"20"`
	Temperature float64 `help:"Neighbours vote with exp(cosine / temperature)." default:"0.07"`
	BatchSize   int     `help:"Images per forward pass." default:"256"`
	Workers     int     `help:"Goroutines that decode; 0 uses the number of CPUs." default:"0"`
	Device      string  `help:"Where to compute: auto, cpu, cuda:N or emulated-cuda." default:"auto" predictor:"device"`
	openFlags
}

// plainLog returns a function that writes messages as lines.
func plainLog(w io.Writer) func(level, message string) {
	return func(level, message string) {
		if level != "INFO" {
			message = strings.ToLower(level) + ": " + message
		}
		fmt.Fprintln(w, message)
	}
}

// Run prints the accuracies.
func (c *knnCmd) Run(ctx context.Context, io streams) error {
	switch {
	case c.K < 1:
		return usageError{fmt.Errorf("--k: %d: expected at least 1", c.K)}
	case !(c.Temperature > 0):
		return usageError{fmt.Errorf("--temperature: %v: expected above 0", c.Temperature)}
	case c.BatchSize < 1:
		return usageError{fmt.Errorf("--batch-size: %d: expected at least 1", c.BatchSize)}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	k, path, err := run.KNN(ctx, run.KNNOptions{
		Checkpoint: c.Checkpoint, Data: c.Data, Layout: c.Layout, Bank: c.Bank, Queries: c.Split, K: c.K, Temp: c.Temperature, BatchSize: c.BatchSize, Workers: c.Workers,
		Device: c.Device, Open: c.options(), Allow: c.allow(), Log: plainLog(io.err),
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(io.out, "%s\nWeighted kNN-%d accuracy in %%, %d images of split %s against %d labelled ones\n\n", path, k.K, k.Queries, k.Split, k.Bank)
	table(io.out, []string{"", "pixels", "CLS", "mean patch"}, [][]string{
		{"raw pixels", percent(k.Raw), "", ""},
		{"model", "", percent(k.Teacher), percent(k.TeacherMeanPatch)},
	})
	return nil
}
