package loader

import (
	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/tensor"
)

// Config says what a Loader yields.
type Config struct {
	Source    data.Source
	Transform data.Transform

	Seed    uint64
	Shuffle bool // a new permutation every epoch; otherwise index order

	// BatchSize is the samples of one step on this rank. The global batch of a step is Ranks*BatchSize consecutive
	// entries of the epoch's order; rank r gets entries r*BatchSize to (r+1)*BatchSize of it, so that the ranks' batches
	// joined are the batch of one rank with Ranks*BatchSize.
	BatchSize   int
	Rank, Ranks int // Ranks 0 means 1

	// KeepLast yields the samples that do not fill a batch as a shorter last batch, for evaluation with one rank;
	// otherwise they are dropped.
	KeepLast bool
	// Epochs is how many epochs there are before Next returns io.EOF; 0 means endless.
	Epochs int

	Workers  int // goroutines that decode and transform; 0 means GOMAXPROCS
	Prefetch int // batches made ahead while the caller holds one; 0 means 2

	// Memory is where batches are made; nil for ordinary host memory. It may be page-locked for a device that copies
	// from it by itself.
	Memory tensor.Allocator

	// MaxUnreadableShare is the share of the source's samples, from 0 to 1, that may turn out unreadable before Next
	// returns an error. An unreadable sample is replaced by the next readable index.
	MaxUnreadableShare float64
}
