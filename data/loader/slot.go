package loader

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/tensor"
)

// Batch is the views of one step. It belongs to the caller until Release; a caller that holds more than one at a time
// makes the loader wait.
type Batch struct {
	Step  int // counted from 0 over all epochs
	Epoch int

	// Specs are the kinds of views of the transform.
	Specs []data.ViewSpec
	// Views[k] is the views of kind k of all B samples, f32 [Count*B, C, H, W], view by view: all samples' first view of
	// the kind, then all samples' second, and so on.
	Views []*tensor.Tensor
	// Indices[b] is the source's index of sample b: that of its replacement if it was unreadable.
	Indices []int
	// Labels[b] is the class of sample b, -1 without one.
	Labels []int32
	// Wait is how long Next waited for this batch.
	Wait time.Duration

	slot *slot
}

// Release gives the memory back to the loader that made the batch; its tensors must not be used afterwards.
func (b *Batch) Release() {
	if s := b.slot; s != nil {
		b.slot = nil
		s.release(s)
	}
}

// slot is the memory of one batch, used again and again.
type slot struct {
	full    Batch            // tensors of a whole batch; batches are copies of it
	memory  tensor.Allocator // of the buffers
	buffers []*tensor.Buffer // of the views

	release func(*slot) // takes the slot back from the owner of its batch

	step, epoch int
	size        int   // samples, less than the batch size only at the end of an epoch
	indices     []int // wanted, then read
	labels      []int32
	results     []result
	left        atomic.Int32  // samples still to be made
	ready       chan struct{} // one token when left reaches 0
}

// result is what happened to one sample.
type result struct {
	bad []Unreadable
	err error
}

func newSlot(cfg Config, release func(*slot)) (*slot, error) {
	s := &slot{
		release: release,
		memory:  cfg.Memory,
		indices: make([]int, cfg.BatchSize),
		labels:  make([]int32, cfg.BatchSize),
		results: make([]result, cfg.BatchSize),
		ready:   make(chan struct{}, 1),
	}
	s.full.Specs = cfg.Transform.Views()
	for _, v := range s.full.Specs {
		t, err := s.alloc(v.Count*cfg.BatchSize, cfg.Transform.Channels(), v.Height, v.Width)
		if err != nil {
			return nil, err
		}
		s.full.Views = append(s.full.Views, t)
	}
	return s, nil
}

func (s *slot) alloc(shape ...int) (*tensor.Tensor, error) {
	buf, err := s.memory.Alloc(tensor.Shape(shape).Len() * tensor.F32.Size())
	if err != nil {
		s.close()
		return nil, fmt.Errorf("data loader: batch of shape %v: %w", shape, err)
	}
	s.buffers = append(s.buffers, buf)
	return tensor.Over(buf, 0, tensor.F32, shape...), nil
}

func (s *slot) close() {
	for _, b := range s.buffers {
		s.memory.Free(b)
	}
	s.buffers = nil
}

// outputs fills out with the places of the views of sample b. A short batch is packed as if it were a whole one of its
// size.
func (s *slot) outputs(b int, out [][]float32) {
	at := 0
	for k, spec := range s.full.Specs {
		pixels := s.full.Views[k].F32()
		each := s.full.Views[k].Len() / s.full.Views[k].Dim(0)
		for v := range spec.Count {
			row := v*s.size + b
			out[at] = pixels[row*each : (row+1)*each]
			at++
		}
	}
}

// batch describes the slot to the caller.
func (s *slot) batch(cfg Config) *Batch {
	b := s.full
	b.slot, b.Step, b.Epoch = s, s.step, s.epoch
	b.Indices, b.Labels = s.indices[:s.size], s.labels[:s.size]
	if s.size < cfg.BatchSize {
		b.Views = nil
		for k, spec := range b.Specs {
			b.Views = append(b.Views, s.full.Views[k].Rows(0, spec.Count*s.size))
		}
	}
	return &b
}
