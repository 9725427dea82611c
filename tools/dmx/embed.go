package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/data/source"
	"github.com/dino-mx/dmx/kernels/device"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/hf"
	"github.com/dino-mx/dmx/ssl/durable"
	"github.com/dino-mx/dmx/ssl/embed"
	"github.com/dino-mx/dmx/ssl/eval"
	"github.com/dino-mx/dmx/ssl/run"
	"github.com/dino-mx/dmx/tensor"
)

type embedCmd struct {
	Model              string  `required:"" help:"Hugging Face id (org/name[@revision]), model folder or weight file." placeholder:"MODEL"`
	Adapter            string  `help:"PEFT adapter folder or id to put on the model." placeholder:"DIR"`
	Data               string  `required:"" help:"Images: a folder, IDX folder, .npz or .tar file." placeholder:"PATH" predictor:"folder"`
	Layout             string  `enum:"auto,classes,splits,flat,archives" default:"auto" help:"What the folders of the data are: classes, splits, or flat for neither; archives reads the tar or IDX files beside pictures; auto finds out."`
	Split              string  `help:"Split of the data; by default the training split, which is everything where there are none."`
	Out                string  `required:"" help:"Where to write: a file that ends in .npy, .parquet or .csv." placeholder:"FILE"`
	Features           string  `enum:"cls,mean,cls+mean,patches" default:"cls" help:"What to write per image: the CLS token, the mean patch token, both, or every patch token."`
	Layers             []int   `help:"Blocks (from 1, before the final norm) whose tokens are joined; by default the normed output." sep:","`
	Size               int     `help:"Side in pixels of the square the model sees; by default what its preprocessing says."`
	BatchSize          int     `help:"Images per forward pass." default:"32"`
	Workers            int     `help:"Goroutines that decode; 0 uses the number of CPUs." default:"0"`
	Device             string  `help:"Where to compute: auto, cpu, cuda:N or emulated-cuda." default:"auto" predictor:"device"`
	MaxUnreadableShare float64 `help:"Share of the images, from 0 to 1, that may be unreadable; they are left out and listed." default:"0.01"`
	Restart            bool    `help:"Begin anew even if an interrupted run of the same command could be continued."`
	openFlags
}

// Run writes one row of features per image, in the order of the data.
func (c *embedCmd) Run(ctx context.Context, io streams) (err error) {
	if c.Size < 0 {
		return usageError{fmt.Errorf("--size: %d: expected a positive number", c.Size)}
	}
	if c.BatchSize < 1 {
		return usageError{fmt.Errorf("--batch-size: %d: expected at least 1", c.BatchSize)}
	}
	if s := c.MaxUnreadableShare; !(s >= 0 && s <= 1) {
		return usageError{fmt.Errorf("--max-unreadable-share: %v: expected a number from 0 to 1", s)}
	}
	if !embed.SupportedName(c.Out) {
		return usageError{fmt.Errorf("--out: %s: expected a name that ends in .npy, .parquet or .csv", c.Out)}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	src, err := source.Open(c.Data, source.Options{Split: c.Split, Layout: source.Layout(c.Layout)})
	if ambiguous := (*source.Ambiguous)(nil); errors.As(err, &ambiguous) {
		return fmt.Errorf("--layout: %w", err)
	}
	if err != nil {
		return err
	}
	if src.Len() == 0 {
		return fmt.Errorf("%s: no images", c.Data)
	}
	m, err := c.open(ctx, c.Model, io.err)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := src.SetChannels(m.Config.Channels); err != nil {
		return err
	}
	identity, err := src.Identity()
	if err != nil {
		return err
	}
	fmt.Fprintf(io.err, "%s: %s\n", c.Data, src.Reading())
	if n := src.Channels(); n != m.Config.Channels {
		fmt.Fprintf(io.err, "the images have %d channels, the model %d: its patch embedding is adapted\n", n, m.Config.Channels)
		if err := m.SetChannels(n); err != nil {
			return err
		}
	}
	for _, why := range []string{m.Config.Assumed, m.Processor.Assumed} {
		if why != "" {
			fmt.Fprintln(io.err, why)
		}
	}
	view, err := eval.NewView(m.Processor, src.Channels(), c.Size)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Model, err)
	}
	d, err := device.Open(c.Device)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, w := range d.Warnings() {
		fmt.Fprintln(io.err, w)
	}
	b := nn.Builder{Backend: d.Backend, DType: d.DType}
	v, _, err := m.BuildViews(b, c.allow())
	if err != nil {
		return err
	}
	defer tensor.GuardMapped(&err)()
	if c.Adapter != "" {
		if _, err := applyAdapter(ctx, c.Adapter, c.Model, m, b, v, io.err); err != nil {
			return err
		}
	}
	e, err := eval.NewExtractor(b, v, eval.Kind(c.Features), c.Layers, view.Views()[0])
	if layer := (*eval.LayerError)(nil); errors.As(err, &layer) {
		return usageError{fmt.Errorf("--layers: %w", err)}
	}
	if err != nil {
		return err
	}
	defer e.Close()
	return c.write(ctx, io, &embed.Job{
		Source: src, LeftOut: run.LeftOut(c.Data, src), Data: identity, View: view, Extractor: e, Out: c.Out, BatchSize: c.BatchSize, Workers: c.Workers,
		MaxUnreadableShare: c.MaxUnreadableShare, AllowNonFinite: c.AllowNonFinite, Restart: c.Restart, Unchanged: m.Unchanged,
	}, m)
}

// write runs the job and says what became of it.
func (c *embedCmd) write(ctx context.Context, io streams, job *embed.Job, m *hf.Checkpoint) error {
	show := newCounter(io.err, job.Source.Len())
	job.Log, job.Progress = show.log, show.set
	done, err := job.Run(ctx)
	show.close()
	var locked *durable.LockedError
	var unreadable *loader.UnreadableError
	var nonFinite *embed.NonFiniteError
	switch {
	case errors.As(err, &locked):
		return fmt.Errorf("--out: %w, or give another file", err)
	case errors.As(err, &unreadable):
		return fmt.Errorf("--max-unreadable-share: %w", err)
	case errors.As(err, &nonFinite):
		return fmt.Errorf("%w; --allow-non-finite writes them all the same", m.NameNonFinite(err))
	case errors.As(err, new(*embed.OutError)):
		return fmt.Errorf("--out: %w", err)
	case err != nil:
		return err
	}
	if done.Skipped > 0 {
		show.log("INFO", fmt.Sprintf("%d of %d images cannot be read and are left out; %s.skipped.csv lists them",
			done.Skipped, job.Source.Len(), c.Out))
	}
	fmt.Fprintf(io.out, "%s: %d images, features %v\n", c.Out, done.Rows, job.Extractor.Shape())
	return nil
}

// counter shows how many images are done and how fast: a bar on a terminal, a line every tenth elsewhere.
type counter struct {
	w           io.Writer
	bar         *progressbar.ProgressBar
	total, from int
	shown       int
	start       time.Time // of the first image
}

func newCounter(w io.Writer, total int) *counter {
	c := &counter{w: w, total: total, from: -1}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		c.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(20), progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionShowIts(), progressbar.OptionSetItsString("img"),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	return c
}

// log shows a message, above the bar where there is one.
func (c *counter) log(level, message string) {
	c.close()
	if level != "INFO" {
		message = strings.ToLower(level) + ": " + message
	}
	fmt.Fprintln(c.w, message)
}

// set shows how many images are done; the first call says where the job begins.
func (c *counter) set(done int) {
	if c.from < 0 {
		c.from, c.shown, c.start = done, done, time.Now()
		return
	}
	if c.bar != nil {
		c.bar.Set(done)
		return
	}
	if done < c.total && done-c.shown < max(c.total/10, 1) {
		return
	}
	c.shown = done
	fmt.Fprintf(c.w, "%d/%d images, %.1f img/s\n", done, c.total, float64(done-c.from)/time.Since(c.start).Seconds())
}

func (c *counter) close() {
	if c.bar != nil {
		c.bar.Clear()
	}
}
