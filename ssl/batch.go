package ssl

import (
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// Batch is the crops of B images. Crops lie view by view: all images' first view, then all images' second, so
// crop v of image i is row v·B+i. The tensors are host memory and are not changed; they must stay as they are
// until Step returns.
type Batch struct {
	Globals *tensor.Tensor // f32 [2·B, C, H, W]
	Locals  *tensor.Tensor // f32 [L·B, C, h, w]; nil when L is 0
	// Samples numbers the images of the data set. It keys the draws of drop path, so that they follow an image
	// wherever it lies in a batch.
	Samples []uint32
	// Measure has the results of this step read back whatever Settings.MeasureEvery says.
	Measure bool
}

// check compares the batch with the settings.
func (b Batch) check(s *Settings) error {
	c := s.Backbone.Channels
	want := func(name string, x *tensor.Tensor, rows, size int) error {
		shape := tensor.Shape{rows, c, size, size}
		if x == nil || x.DType() != tensor.F32 || !x.Shape().Equal(shape) {
			return fmt.Errorf("batch: %s is %v; the trainer was made for f32%s", name, x, shape)
		}
		return nil
	}
	if err := want("globals", b.Globals, 2*s.Batch, s.GlobalSize); err != nil {
		return err
	}
	if s.LocalCrops > 0 {
		if err := want("locals", b.Locals, s.LocalCrops*s.Batch, s.LocalSize); err != nil {
			return err
		}
	}
	if len(b.Samples) != s.Batch {
		return fmt.Errorf("batch: %d sample numbers for %d images", len(b.Samples), s.Batch)
	}
	return nil
}
