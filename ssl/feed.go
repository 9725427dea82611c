package ssl

import (
	"errors"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// feed copies batches to a device that receives them while it computes. There is memory for two batches on the device:
// one is filled while the step that reads the other runs.
type feed struct {
	device  kernels.AsyncUploader
	buffers [2]feedBuffer
	next    int // the buffer to fill
}

// feedBuffer is the memory of one batch on the device.
type feedBuffer struct {
	views  []*tensor.Tensor
	host   *tensor.Tensor // the host's first view of the batch that is here or on its way; nil for none
	ticket kernels.Ticket
}

// Stage starts to copy a batch to the device beside the steps submitted so far; the Step that gets this batch finds it
// there. Batches are staged in the order of their steps, each before the Step of the one before it, and stay as they
// are until their own Step returns. Where a device has no use for it, Stage does nothing.
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
	p := &f.buffers[f.next]
	if p.host != nil {
		return errors.New("batch: both staging buffers are full; call Step on an earlier batch first")
	}
	f.next = 1 - f.next
	p.host = batch.Views[0]
	for i, x := range p.views {
		// Copies are done in order: the last ticket stands for all.
		p.ticket = device.UploadAsync(x, batch.Views[i])
	}
	return nil
}

func newFeed(t *Trainer, device kernels.AsyncUploader, batch Batch) (*feed, error) {
	f := &feed{device: device}
	for i := range f.buffers {
		for _, host := range batch.Views {
			x, err := tensor.New(t.backend.Allocator(), tensor.F32, host.Shape()...)
			if err != nil {
				return nil, err
			}
			f.buffers[i].views = append(f.buffers[i].views, x)
		}
	}
	return f, nil
}

// staged is the buffer of a batch that Stage has copied, nil for none.
func (t *Trainer) staged(batch Batch) *feedBuffer {
	if t.feed == nil {
		return nil
	}
	for i := range t.feed.buffers {
		if p := &t.feed.buffers[i]; p.host == batch.Views[0] {
			return p
		}
	}
	return nil
}

// release frees a buffer, whose batch may be changed from then on.
func (f *feed) release(p *feedBuffer) {
	f.device.WaitCopied(p.ticket)
	p.host = nil
}
