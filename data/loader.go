package data

import (
	"context"
	"errors"
	"time"

	"github.com/dino-mx/dmx/tensor"
)

// LoaderConfig says what a Loader yields.
type LoaderConfig struct {
	Source    Source
	Transform Transform

	Seed    uint64
	Shuffle bool // a new permutation every epoch; otherwise index order

	// BatchSize is the samples of one step on this rank. The global batch of a step is Ranks*BatchSize consecutive
	// entries of the epoch's order; rank r gets entries r*BatchSize to (r+1)*BatchSize of it, so that the ranks' batches
	// joined are the batch of one rank with Ranks*BatchSize.
	BatchSize   int
	Rank, Ranks int // Ranks 0 means 1

	// KeepLast yields the samples that do not fill a global batch as a shorter last batch, for evaluation with one
	// rank; otherwise they are dropped.
	KeepLast bool
	// Epochs is how many epochs there are before Next returns io.EOF; 0 means endless.
	Epochs int

	Workers  int // goroutines that decode and transform; 0 means GOMAXPROCS
	Prefetch int // batches made ahead; 0 means 2

	// MaxUnreadableShare is the share of the source's samples, from 0 to 1, that may turn out unreadable before Next
	// returns an error. An unreadable sample is replaced by the next readable index.
	MaxUnreadableShare float64
}

// Batch is the views of one step. It belongs to the caller until Release.
type Batch struct {
	Step  int // counted from 0 over all epochs
	Epoch int

	// Views[v] is view v of every sample, [B, C, H, W] f32.
	Views []*tensor.Tensor
	// Groups are the runs of consecutive views of one size, each a single tensor [V*B, C, H, W] in which the views
	// follow one another: all samples' view 0, then view 1, and so on. Views are row ranges of them.
	Groups []*tensor.Tensor
	// Indices[b] is the source's index of sample b: that of its replacement if it was unreadable.
	Indices []int
	// Labels[b] is the class of sample b, -1 without one.
	Labels []int32
	// Wait is how long Next waited for this batch.
	Wait time.Duration
}

// Release gives the memory back to the loader that made the batch; its tensors must not be used afterwards.
func (b *Batch) Release() {}

// Unreadable is a sample that could not be decoded.
type Unreadable struct {
	Index int
	ID    string
	Err   error
}

// Loader yields batches in a defined order. One goroutine may use it at a time.
type Loader struct{}

// NewLoader starts the workers of a loader; Close stops them.
func NewLoader(cfg LoaderConfig) (*Loader, error) { return nil, errors.New("data: loader not built") }

// StepsPerEpoch is the number of batches of one epoch.
func (l *Loader) StepsPerEpoch() int { return 0 }

// Seek makes the next batch that of the given step, counted from 0 over all epochs. The batch has the same bits as
// if every earlier one had been made.
func (l *Loader) Seek(step int) error { return nil }

// Next returns the next batch, waiting for the workers if it is not ready. It returns io.EOF after the last
// epoch, and an error that lists paths when too many samples are unreadable.
func (l *Loader) Next(ctx context.Context) (*Batch, error) { return nil, nil }

// Unreadable lists the samples found unreadable so far, by index.
func (l *Loader) Unreadable() []Unreadable { return nil }

// Close stops the workers and frees the memory. Batches not released stay valid.
func (l *Loader) Close() {}
