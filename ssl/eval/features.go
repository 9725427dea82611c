package eval

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// Set is features with the classes of their images.
type Set struct {
	X      *tensor.Tensor // f32 [N, D] on the host
	Labels []int32        // [N]; -1 for none
}

// Features are what a backbone gives for the images of a loader.
type Features struct {
	CLS       Set // the CLS token after the final norm
	MeanPatch Set // the mean of the patch tokens after the final norm
}

// Extract runs the backbone over one epoch of the loader, which yields one view an image, unshuffled, and keeps its
// last short batch. dtype is the model's working type. n is the number of images.
func Extract(ctx context.Context, b kernels.Backend, dtype tensor.DType, m *nn.ViT, l *data.Loader, n int) (*Features, error) {
	d := m.Config.Dim
	f := &Features{CLS: newSet(n, d), MeanPatch: newSet(n, d)}
	tape := nn.Builder{Backend: b, DType: dtype}.NewTape()
	defer tape.A.Release()
	at := 0
	err := each(ctx, l, n, func(x *tensor.Tensor, labels []int32) (err error) {
		defer tape.Reset()
		defer tensor.CatchOutOfMemory(&err)
		images := x
		if b.Allocator().Device() != x.Device() {
			images = tape.A.New(x.DType(), x.Shape()...)
			b.Upload(images, x)
		}
		groups := []nn.Group{{Images: images}}
		layout, err := m.Layout(groups)
		if err != nil {
			return err
		}
		tape.NoGrad(func() {
			tokens := m.Forward(tape, layout, groups, nn.Options{}).Tokens.Value
			k := x.Dim(0)
			cls, mean := tape.A.New(tensor.F32, k, d), tape.A.New(tensor.F32, k, d)
			patches := layout.Groups[0].Patches()
			for i := range k {
				row := int(layout.CLSRow(0, i))
				b.Copy(cls.Rows(i, i+1), tokens.Rows(row, row+1))
				first := int(layout.Row(0, i, 0))
				b.ColSum(mean.Rows(i, i+1).Reshape(d), tokens.Rows(first, first+patches), 1/float64(patches), false)
			}
			b.Download(f.CLS.X.Rows(at, at+k), cls)
			b.Download(f.MeanPatch.X.Rows(at, at+k), mean)
		})
		copy(f.CLS.Labels[at:], labels)
		copy(f.MeanPatch.Labels[at:], labels)
		at += x.Dim(0)
		return b.Sync()
	})
	if err != nil {
		return nil, fmt.Errorf("extract features: %w", err)
	}
	return f, nil
}

// Pixels takes the images of the loader themselves, as its transform has normalised them, as features.
func Pixels(ctx context.Context, l *data.Loader, n int) (Set, error) {
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

// each walks through one epoch and checks that it has n images.
func each(ctx context.Context, l *data.Loader, n int, fn func(x *tensor.Tensor, labels []int32) error) error {
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
