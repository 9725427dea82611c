package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/augment"
	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/data/source"
	"github.com/dino-mx/dmx/kernels/device"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/hf"
	"github.com/dino-mx/dmx/ssl/eval"
	"github.com/dino-mx/dmx/tensor"
)

type embedCmd struct {
	Model     string `required:"" help:"Hugging Face id (org/name[@revision]), model folder or weight file." placeholder:"MODEL"`
	Adapter   string `help:"PEFT adapter folder or id to put on the model." placeholder:"DIR"`
	Data      string `required:"" help:"Images: a folder, IDX folder, .npz or .tar file." placeholder:"PATH" predictor:"folder"`
	Split     string `help:"Split of the data; by default the training split, which is everything where there are none."`
	Out       string `required:"" help:"Where to write: a file that ends in .npy, .parquet or .csv." placeholder:"FILE"`
	Features  string `enum:"cls,mean,cls+mean,patches" default:"cls" help:"What to write per image: the CLS token, the mean patch token, both, or every patch token."`
	Layers    []int  `help:"Blocks (from 1, before the final norm) whose tokens are joined; by default the normed output." sep:","`
	Size      int    `help:"Side in pixels of the square the model sees; by default what its preprocessing says."`
	BatchSize int    `help:"Images per forward pass." default:"32"`
	Workers   int    `help:"Goroutines that decode; 0 uses the number of CPUs." default:"0"`
	Device    string `help:"Where to compute: auto, cpu, cuda:N or emulated-cuda." default:"auto" predictor:"device"`
	Restart   bool   `help:"Begin anew even if an interrupted run of the same command could be continued."`
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
	if !slices.Contains([]string{".npy", ".parquet", ".csv"}, strings.ToLower(filepath.Ext(c.Out))) {
		return usageError{fmt.Errorf("--out: %s: expected a name that ends in .npy, .parquet or .csv", c.Out)}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	src, err := source.Open(c.Data, c.Split)
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
	if n := src.Channels(); n != m.Config.Channels {
		fmt.Fprintf(io.err, "the images have %d channels, the model %d: its patch embedding is adapted\n", n, m.Config.Channels)
		if err := m.SetChannels(n); err != nil {
			return err
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
	return c.write(ctx, io, src, view, e, m)
}

// write runs the images through the model. Rows go to a raw file beside the result first; an interrupted run with
// the same model, data and options goes on behind the last full row.
func (c *embedCmd) write(ctx context.Context, io streams, src data.Source, view *augment.Whole, e *eval.Extractor, m *hf.Checkpoint) error {
	s, err := openSpool(c.Out, c.identity(src, view, e), src.Len(), e.RowLen(), c.Restart)
	if err != nil {
		return err
	}
	defer s.close()
	if s.rows > 0 && s.rows < src.Len() {
		fmt.Fprintf(io.err, "continuing behind %d of %d images\n", s.rows, src.Len())
	}
	if s.rows < src.Len() {
		if err := c.extract(ctx, io, src, view, e, m, s); err != nil {
			return err
		}
	}
	if err := s.finish(c.Out, src, e.Shape()); err != nil {
		return err
	}
	fmt.Fprintf(io.out, "%s: %d images, features %v\n", c.Out, src.Len(), e.Shape())
	return nil
}

// identity is what must agree for an interrupted run to be continued.
func (c *embedCmd) identity(src data.Source, view *augment.Whole, e *eval.Extractor) string {
	return fmt.Sprintf("dmx embed 4\n%sdata %s\nview %+v\n", e.Identity(), source.Fingerprint(src), view.Config())
}

func (c *embedCmd) extract(ctx context.Context, io streams, src data.Source, view *augment.Whole, e *eval.Extractor, m *hf.Checkpoint, s *spool) error {
	batches, err := loader.New(loader.Config{
		Source: tail{src, s.rows}, Transform: view, BatchSize: c.BatchSize, KeepLast: true, Epochs: 1, Workers: c.Workers,
	})
	if err != nil {
		return err
	}
	defer batches.Close()
	show := newCounter(io.err, src.Len(), s.rows)
	defer show.close()
	for s.rows < src.Len() {
		batch, err := batches.Next(ctx)
		if err != nil {
			return err
		}
		rows, err := e.Run(batch.Views[0])
		if err == nil {
			err = m.Unchanged() // rows of other weights must not be kept
		}
		if err == nil {
			err = s.append(rows)
		}
		batch.Release()
		if err != nil {
			return err
		}
		show.set(s.rows)
	}
	return nil
}

// tail is the samples of a source from one on.
type tail struct {
	data.Source
	from int
}

func (t tail) Len() int                          { return t.Source.Len() - t.from }
func (t tail) Decode(i int, m *data.Image) error { return t.Source.Decode(i+t.from, m) }
func (t tail) Label(i int) (int, bool)           { return t.Source.Label(i + t.from) }
func (t tail) ID(i int) string                   { return t.Source.ID(i + t.from) }

// counter shows how many images are done and how fast: a bar on a terminal, a line every tenth elsewhere.
type counter struct {
	w           io.Writer
	bar         *progressbar.ProgressBar
	total, from int
	shown       int
	start       time.Time
}

func newCounter(w io.Writer, total, from int) *counter {
	c := &counter{w: w, total: total, from: from, shown: from, start: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		c.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(20), progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionShowIts(), progressbar.OptionSetItsString("img"),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	return c
}

func (c *counter) set(done int) {
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
