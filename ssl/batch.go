package ssl

import (
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// Batch is the crops of the images of a step, one tensor for each of Settings.Views: f32 [Count·B, C, H, W]. Crops lie
// view by view: all images' first view, then all images' second, so crop v of image i is row v·B+i. The tensors are
// host memory and are not changed; they must stay as they are until Step returns.
type Batch struct {
	Views []*tensor.Tensor
	// Measure has the results of this step read back whatever Settings.MeasureEvery says.
	Measure bool
}

// check compares the batch with the settings.
func (b Batch) check(s *Settings) error {
	if len(b.Views) != len(s.Views) {
		return fmt.Errorf("batch: %d kinds of views; the trainer was made for %d", len(b.Views), len(s.Views))
	}
	for i, v := range s.Views {
		x := b.Views[i]
		shape := tensor.Shape{v.Count * s.Batch, s.Backbone.Channels, v.Height, v.Width}
		if x == nil || x.DType() != tensor.F32 || !x.Shape().Equal(shape) {
			return fmt.Errorf("batch: view %s is %v; the trainer was made for f32%s", v.Name, x, shape)
		}
	}
	return nil
}
