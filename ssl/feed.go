package ssl

import (
	"errors"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// feed brings batches to a device that takes them in while it works. There are two places for a batch on the device:
// one is filled while the step that reads the other runs.
type feed struct {
	device kernels.AsyncUploader
	places [2]place
	next   int // the place to fill
}

// place is the memory of one batch on the device.
type place struct {
	globals, locals *tensor.Tensor
	of              *tensor.Tensor // the host's global crops of the batch that is here or on its way; nil for none
	ticket          kernels.Ticket
}

// Stage starts to copy a batch to the device beside the steps asked for so far; the Step that is given this batch
// finds it there. Batches are staged in the order of their steps, each before the Step of the one before it, and stay
// as they are until their own Step returns. Where a device has no use for it, Stage does nothing.
func (t *Trainer) Stage(batch Batch) (err error) {
	device, ok := t.backend.(kernels.AsyncUploader)
	if !ok {
		return nil
	}
	if err := batch.check(&t.Settings); err != nil {
		return err
	}
	if t.feed == nil {
		if t.feed, err = newFeed(t, device, batch); err != nil {
			return err
		}
	}
	f := t.feed
	p := &f.places[f.next]
	if p.of != nil {
		return errors.New("batch: three batches are staged before the step of the first; stage one ahead of each step")
	}
	f.next = 1 - f.next
	p.of = batch.Globals
	p.ticket = device.UploadAsync(p.globals, batch.Globals)
	if p.locals != nil {
		// Copies are done in order: the last ticket stands for both.
		p.ticket = device.UploadAsync(p.locals, batch.Locals)
	}
	return nil
}

func newFeed(t *Trainer, device kernels.AsyncUploader, batch Batch) (*feed, error) {
	f := &feed{device: device}
	for i := range f.places {
		p := &f.places[i]
		var err error
		if p.globals, err = tensor.New(t.backend.Allocator(), tensor.F32, batch.Globals.Shape()...); err != nil {
			return nil, err
		}
		if batch.Locals != nil {
			if p.locals, err = tensor.New(t.backend.Allocator(), tensor.F32, batch.Locals.Shape()...); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// staged is the place of a batch that Stage was given, nil for none.
func (t *Trainer) staged(batch Batch) *place {
	if t.feed == nil {
		return nil
	}
	for i := range t.feed.places {
		if p := &t.feed.places[i]; p.of == batch.Globals {
			return p
		}
	}
	return nil
}

// take makes the crops of the step those of the batch: where they were staged, else host memory itself, else a
// copy in the arena.
func (t *Trainer) take(batch Batch) {
	if p := t.staged(batch); p != nil {
		t.feed.device.OrderAfter(p.ticket)
		t.groups[0].Images, t.groups[1].Images = p.globals, p.locals
		return
	}
	t.groups[0].Images, t.groups[1].Images = t.onDevice(batch.Globals), t.onDevice(batch.Locals)
}

// leave frees a place, whose batch may be changed from then on.
func (f *feed) leave(p *place) {
	f.device.WaitCopied(p.ticket)
	p.of = nil
}
