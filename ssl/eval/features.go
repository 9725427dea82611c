package eval

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// Set is features with the classes of their images.
type Set struct {
	X      *tensor.Tensor // f32 [N, D] on the host
	Labels []int32        // [N]; -1 for none
}

// Features are those of a backbone for the images of a loader.
type Features struct {
	CLS       Set // the CLS token after the final norm
	MeanPatch Set // the mean of the patch tokens after the final norm
}

// NonFiniteError is the error of an image whose features hold a NaN or an infinity.
type NonFiniteError struct{ Image int } // in the order of the loader

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("the features of image %d hold NaN or infinity", e.Image)
}

// Extract returns the features of one epoch of the loader, which yields one view an image, unshuffled, and keeps its
// last short batch. b is what the model was built with; n is the number of images. Features that are not finite are a
// *NonFiniteError.
func Extract(ctx context.Context, b nn.Builder, m *nn.ViT, l *loader.Loader, n int) (*Features, error) {
	d := m.Config.Dim
	f := &Features{CLS: newSet(n, d), MeanPatch: newSet(n, d)}
	var e *Extractor
	at := 0
	err := each(ctx, l, n, func(x *tensor.Tensor, labels []int32) (err error) {
		if e == nil {
			if e, err = NewExtractor(b, m, CLSMean, nil, data.ViewSpec{Height: x.Dim(2), Width: x.Dim(3)}); err != nil {
				return err
			}
		}
		rows, err := e.Run(x)
		if err != nil {
			return err
		}
		copy(f.CLS.Labels[at:], labels)
		copy(f.MeanPatch.Labels[at:], labels)
		for ; len(rows) > 0; rows = rows[2*d:] {
			for _, v := range rows[:2*d] {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					return &NonFiniteError{Image: at}
				}
			}
			copy(f.CLS.X.Rows(at, at+1).F32(), rows[:d])
			copy(f.MeanPatch.X.Rows(at, at+1).F32(), rows[d:2*d])
			at++
		}
		return nil
	})
	if e != nil {
		e.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("extract features: %w", err)
	}
	return f, nil
}

// Pixels returns the images of the loader themselves, as its transform has normalised them, as features.
func Pixels(ctx context.Context, l *loader.Loader, n int) (Set, error) {
	var s Set
	at := 0
	err := each(ctx, l, n, func(x *tensor.Tensor, labels []int32) error {
		if s.X == nil {
			s = newSet(n, x.Len()/x.Dim(0))
		}
		k := x.Dim(0)
		copy(s.X.Rows(at, at+k).F32(), x.F32())
		copy(s.Labels[at:], labels)
		at += k
		return nil
	})
	if err != nil {
		return Set{}, fmt.Errorf("read pixels: %w", err)
	}
	return s, nil
}

func newSet(n, d int) Set {
	return Set{X: tensor.Zeros(tensor.F32, n, d), Labels: make([]int32, n)}
}

// each calls fn for every batch of one epoch and checks that it has n images.
func each(ctx context.Context, l *loader.Loader, n int, fn func(x *tensor.Tensor, labels []int32) error) error {
	seen := 0
	for seen < n {
		batch, err := l.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		x := batch.Views[0]
		if seen+x.Dim(0) > n {
			batch.Release()
			return fmt.Errorf("the loader yields more than %d images; it must keep the last batch and not repeat", n)
		}
		err = fn(x, batch.Labels)
		seen += x.Dim(0)
		batch.Release()
		if err != nil {
			return err
		}
	}
	if seen != n {
		return fmt.Errorf("the loader ended after %d of %d images", seen, n)
	}
	return nil
}
