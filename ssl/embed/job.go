package embed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/augment"
	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/data/source"
	"github.com/dino-mx/dmx/ssl/durable"
	"github.com/dino-mx/dmx/ssl/eval"
	"github.com/dino-mx/dmx/ssl/skipped"
)

// Job is one file of features.
type Job struct {
	Source    data.Source
	Data      source.Identity // of Source
	LeftOut   []skipped.Image // files beside the images of Source, for the list
	View      *augment.Whole
	Extractor *eval.Extractor
	Out       string // ends in .npy, .parquet or .csv
	BatchSize int
	Workers   int // goroutines that decode; 0 means the number of CPUs
	// MaxUnreadableShare is the share of the images, from 0 to 1, that may be unreadable and left out.
	MaxUnreadableShare float64
	// AllowNonFinite writes features that are NaN or infinite; otherwise they are an error.
	AllowNonFinite bool
	// Restart begins anew even if an interrupted job could be continued.
	Restart bool

	// Unchanged returns an error if the model's file changed since it was opened. Rows are kept only while it is nil.
	Unchanged func() error
	// Log receives messages; level is INFO or WARNING.
	Log func(level, message string)
	// Progress is told how many of all images are embedded or left out: before the first and after every batch.
	Progress func(done int)
}

// Result says what a job has written.
type Result struct {
	Rows    int
	Skipped int // images that were left out because they cannot be read
}

// OutError is an error of the file that a job writes, or of those beside it.
type OutError struct{ Err error }

func (e *OutError) Error() string { return e.Err.Error() }
func (e *OutError) Unwrap() error { return e.Err }

// SupportedName reports whether the end of a name is that of a format that is written.
func SupportedName(name string) bool {
	_, ok := writers[strings.ToLower(filepath.Ext(name))]
	return ok
}

// Run writes one row of features for every readable image, in the order of the source. An interrupted job of the same
// model, images and options, with the same Out, is continued behind its last full row. Out is locked meanwhile.
func (j *Job) Run(ctx context.Context) (*Result, error) {
	if !SupportedName(j.Out) {
		return nil, fmt.Errorf("%s: expected a name that ends in .npy, .parquet or .csv", j.Out)
	}
	// What would spoil the end of a long job is found before its first image.
	if info, err := os.Stat(j.Out); err == nil && info.IsDir() {
		return nil, &OutError{fmt.Errorf("%s is a folder; give the name of a file", j.Out)}
	}
	lock, err := durable.Lock(j.Out + ".lock")
	if err != nil {
		return nil, &OutError{fmt.Errorf("%s: %w", j.Out, err)}
	}
	defer lock.Close()
	defer os.Remove(lock.Name())
	s, err := j.openSpool()
	if err != nil {
		return nil, &OutError{fmt.Errorf("%s: %w", j.Out, err)}
	}
	defer s.close()
	if s.next > 0 && s.next < j.Source.Len() {
		j.Log("INFO", fmt.Sprintf("continuing behind %d of %d images", s.next, j.Source.Len()))
	}
	if s.next < j.Source.Len() {
		if err := j.extract(ctx, s); err != nil {
			return nil, err
		}
	}
	if len(s.rows) == 0 {
		return nil, fmt.Errorf("none of %d images can be read", j.Source.Len())
	}
	if err := j.finish(s); err != nil {
		return nil, &OutError{fmt.Errorf("%s: %w", j.Out, err)}
	}
	return &Result{Rows: len(s.rows), Skipped: len(s.skipped)}, nil
}

// identity describes all that the rows depend on.
func (j *Job) identity() string {
	return fmt.Sprintf("dmx embed 6\n%sdata %+v\nview %+v\nfinite %v\n", j.Extractor.Identity(), j.Data, j.View.Config(), !j.AllowNonFinite)
}

func (j *Job) openSpool() (*spool, error) {
	s, other, err := openSpool(j.Out+".part", j.identity(), j.Source.Len(), j.Extractor.RowLen(), j.Restart)
	if err == nil && other {
		j.Log("WARNING", fmt.Sprintf("the interrupted job in %s.part was of another model, other images or other options: beginning anew", j.Out))
	}
	return s, err
}

// extract appends the rows of the images that the spool does not have.
func (j *Job) extract(ctx context.Context, s *spool) error {
	from := s.next
	l, err := loader.New(loader.Config{
		Source: tail{j.Source, from}, Transform: j.View, BatchSize: j.BatchSize, KeepLast: true, Epochs: 1, Workers: j.Workers,
		MaxUnreadableShare: 1, // the share is one of all images, which extract counts
	})
	if err != nil {
		return err
	}
	defer l.Close()
	j.Progress(from)
	for s.next < j.Source.Len() {
		if err := ctx.Err(); err != nil { // also when the next batch is ready
			return err
		}
		batch, err := l.Next(ctx)
		var all *loader.UnreadableError
		switch {
		case errors.As(err, &all): // no image that is left can be read
			s.leaveOut(from, all.Samples, j.Source.Len())
			err = s.flush()
		case err == nil:
			err = j.append(s, from, batch, l.Unreadable())
			batch.Release()
		}
		if err == nil && float64(len(s.skipped)) > j.MaxUnreadableShare*float64(j.Source.Len()) {
			err = j.tooMany(s)
		}
		if err != nil {
			return err
		}
		j.Progress(s.next)
	}
	return nil
}

// append adds the features of a batch to the spool. A sample whose place another one took is left out.
func (j *Job) append(s *spool, from int, batch *loader.Batch, bad []loader.Unreadable) error {
	rows, err := j.Extractor.Run(batch.Views[0])
	if err == nil {
		err = j.Unchanged()
	}
	if err != nil {
		return err
	}
	width, first := s.rowLen, s.next
	for i, at := range batch.Indices {
		row := rows[i*width : (i+1)*width]
		if from+at != first+i {
			continue
		}
		if !j.AllowNonFinite && !finite(row) {
			return &NonFiniteError{ID: j.Source.ID(first + i)}
		}
		s.add(first+i, row)
	}
	s.leaveOut(from, bad, first+len(batch.Indices))
	return s.flush()
}

// NonFiniteError is the error of an image whose features hold NaN or infinity.
type NonFiniteError struct{ ID string }

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("the features of %s hold NaN or infinity; check the weights and the image", e.ID)
}

func finite(row []float32) bool {
	for _, v := range row {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return false
		}
	}
	return true
}

// tooMany returns the error of more unreadable images than MaxUnreadableShare allows.
func (j *Job) tooMany(s *spool) error {
	e := &loader.UnreadableError{Of: j.Source.Len(), MaxShare: j.MaxUnreadableShare}
	for _, u := range s.skipped {
		e.Samples = append(e.Samples, loader.Unreadable{ID: u.ID, Err: errors.New(u.Reason)})
	}
	return e
}

// finish turns the spool into the result and removes it.
func (j *Job) finish(s *spool) error {
	t := table{spool: s, source: j.Source, shape: j.Extractor.Shape()}
	ext := strings.ToLower(filepath.Ext(j.Out))
	if ext == ".npy" {
		if err := durable.Write(j.Out+".samples.csv", t.writeSamples); err != nil {
			return err
		}
	}
	if err := j.listSkipped(s); err != nil {
		return err
	}
	if err := durable.Write(j.Out, func(w io.Writer) error { return writers[ext](&t, w) }); err != nil {
		return err
	}
	return s.remove()
}

// listSkipped writes the list of the images that were left out, in place of that of an earlier job, and warns.
func (j *Job) listSkipped(s *spool) error {
	path := j.Out + ".skipped.csv"
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	list, err := skipped.Open(path)
	if err != nil {
		return err
	}
	for _, m := range slices.Concat(j.LeftOut, s.skipped) {
		list.Add(m)
	}
	warnings, err := list.News()
	for _, w := range warnings {
		j.Log("WARNING", w)
	}
	return err
}

// tail is the samples of a source from one on.
type tail struct {
	data.Source
	from int
}

func (t tail) Len() int                              { return t.Source.Len() - t.from }
func (t tail) Decode(i int, into *data.Sample) error { return t.Source.Decode(i+t.from, into) }
func (t tail) Label(i int) (int, bool)               { return t.Source.Label(i + t.from) }
func (t tail) ID(i int) string                       { return t.Source.ID(i + t.from) }
