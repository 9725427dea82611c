package run

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/ssl"
	"github.com/dino-mx/dmx/ssl/eval"
	"github.com/dino-mx/dmx/tensor"
)

// doubted adds the cause to an error that a device which gives wrong results may have caused: values that are not
// finite. The kernels of the device are then compared with known answers once more.
func (s *session) doubted(err error) error {
	var loss *ssl.NonFiniteError
	var features *eval.NonFiniteError
	if s.device == nil || !errors.As(err, &loss) && !errors.As(err, &features) {
		return err
	}
	if cause := s.device.Recheck(); cause != nil {
		// The advice against values that are not finite does not apply.
		return fmt.Errorf("%w\nit was noticed by this: %v", cause, err)
	}
	return err
}

// alikeImages is the number of images whose features are compared before the first step.
const alikeImages = 8

// spread picks n images of a source, evenly.
type spread struct {
	data.Source
	n int
}

func (s spread) Len() int                              { return s.n }
func (s spread) at(i int) int                          { return i * s.Source.Len() / s.n }
func (s spread) Decode(i int, into *data.Sample) error { return s.Source.Decode(s.at(i), into) }
func (s spread) Label(i int) (int, bool)               { return s.Source.Label(s.at(i)) }
func (s spread) ID(i int) string                       { return s.Source.ID(s.at(i)) }

// compareFeatures warns before the first step if the backbone gives the same features to images that differ: then no
// loss has anything to learn from, and the accuracy of neighbours is chance.
func (s *session) compareFeatures(ctx context.Context) error {
	src := spread{s.pictures.train, min(alikeImages, s.pictures.train.Len())}
	if s.trainer.Steps() > 0 || src.n < 2 {
		return nil
	}
	transform, err := s.pictures.whole(s.c)
	if err != nil {
		return err
	}
	// Images that cannot be read are named by training itself.
	e := &evaluator{s.c, s.device, func([]loader.Unreadable) error { return nil }}
	var pixels eval.Set
	err = e.each(src, transform, func(l *loader.Loader) (err error) {
		pixels, err = eval.Pixels(ctx, l, src.n)
		return err
	})
	var f *eval.Features
	if err == nil {
		f, err = e.extract(ctx, s.trainer.Teacher.Backbone, src, transform)
	}
	var unreadable *loader.UnreadableError
	var nonFinite *eval.NonFiniteError
	switch {
	case errors.As(err, &unreadable), errors.As(err, &nonFinite): // the steps find them too, and say how many
		return nil
	case err != nil:
		return fmt.Errorf("compare features: %w", err)
	}
	if alike(f.MeanPatch.X) && alike(f.CLS.X) && !alike(pixels.X) {
		s.say("WARNING", fmt.Sprintf("the backbone gives the same features to %d images that differ (standard deviation 0), before any step: "+
			"there is nothing to learn from; check the initial weights, and on a GPU dmx doctor", src.n))
	}
	return nil
}

// alike reports whether all rows of x are the same but for rounding: whether the standard deviation of every column is
// below a millionth of the largest value.
func alike(x *tensor.Tensor) bool {
	n, d := x.Dim(0), x.Dim(1)
	most := 0.0
	for _, v := range x.F32() {
		most = max(most, math.Abs(float64(v)))
	}
	for j := range d {
		sum, squares := 0.0, 0.0
		for i := range n {
			sum += x.At(i*d + j)
		}
		for i := range n {
			v := x.At(i*d+j) - sum/float64(n)
			squares += v * v
		}
		if math.Sqrt(squares/float64(n)) > 1e-6*most {
			return false
		}
	}
	return true
}
