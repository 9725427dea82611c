package run

import (
	"context"
	"time"

	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/ssl"
)

// feedPrefetch is the number of batches the loader makes ahead where one waits on its way to the device beside the one
// in use.
const feedPrefetch = 3

// input is one batch in the form of the trainer, or the error that the loader returned instead.
type input struct {
	batch *loader.Batch
	crops ssl.Batch
	wait  time.Duration
	err   error
}

// input is the batch of the next step. Where the device takes batches in beside its work the one after it is on its
// way when this returns; an error of that one belongs to its own step.
func (s *session) input(ctx context.Context) (*input, error) {
	in := s.ahead
	s.ahead = nil
	if in == nil {
		in = s.load(ctx)
	}
	if in.err != nil {
		return nil, in.err
	}
	if _, ok := s.backend.(kernels.AsyncUploader); ok && s.trainer.Steps()+1 < s.c.Train.MaxIterations {
		s.ahead = s.load(ctx)
	}
	return in, nil
}

// load fetches a batch from the loader and starts its copy to the device.
func (s *session) load(ctx context.Context) *input {
	batch, err := s.loader.Next(ctx)
	if err != nil {
		return &input{err: err}
	}
	in := &input{batch: batch, wait: batch.Wait, crops: ssl.Batch{Views: batch.Views}}
	if in.err = s.trainer.Stage(in.crops); in.err != nil {
		batch.Release()
	}
	return in
}
