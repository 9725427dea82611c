package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// extractor turns batches of images into rows of features.
type extractor struct {
	v        *nn.ViT
	b        nn.Builder
	tape     *autograd.Tape
	features string
	layers   []int // blocks counted from 1; empty for the normed output
	patches  int
	images   *tensor.Tensor // on the device
	out      []float32
}

func newExtractor(b nn.Builder, v *nn.ViT, features string, layers []int, view data.View) (*extractor, error) {
	for _, l := range layers {
		if l < 1 || l > v.Config.Depth {
			return nil, usageError{fmt.Errorf("--layers: %d: the model has blocks 1 to %d", l, v.Config.Depth)}
		}
	}
	p := v.Config.PatchSize
	if view.Height < p || view.Width < p {
		return nil, fmt.Errorf("a view of %d x %d pixels is smaller than one patch of %d", view.Height, view.Width, p)
	}
	return &extractor{v: v, b: b, tape: b.NewTape(), features: features, layers: layers, patches: (view.Height / p) * (view.Width / p)}, nil
}

// shape is the shape of one image's features.
func (e *extractor) shape() []int {
	d := e.v.Config.Dim * max(len(e.layers), 1)
	switch e.features {
	case "patches":
		return []int{e.patches, d}
	case "cls+mean":
		return []int{2 * d}
	}
	return []int{d}
}

func (e *extractor) rowLen() int { return tensor.Shape(e.shape()).Len() }

// run gives the features of images [B, C, H, W], row by row. The result is overwritten by the next call.
func (e *extractor) run(images *tensor.Tensor) (_ []float32, err error) {
	defer tensor.CatchOutOfMemory(&err)
	n := images.Dim(0)
	if e.images == nil || e.images.Dim(0) < n {
		t, err := tensor.New(e.b.Backend.Allocator(), tensor.F32, images.Shape()...)
		if err != nil {
			return nil, err
		}
		e.images = t
	}
	in := e.images.Rows(0, n)
	e.b.Backend.Upload(in, images)
	groups := []nn.Group{{Images: in}}
	l, err := e.v.Layout(groups)
	if err != nil {
		return nil, err
	}
	o := nn.Options{Hidden: len(e.layers) > 0}
	clsOnly := e.features == "cls" && !o.Hidden
	if clsOnly {
		o.Rows = l.CLSRows()
	}
	var tokens []*tensor.Tensor
	defer e.tape.Reset()
	e.tape.NoGrad(func() {
		out := e.v.Forward(e.tape, l, groups, o)
		if !o.Hidden {
			tokens = append(tokens, out.Tokens.Value)
		}
		for _, k := range e.layers {
			tokens = append(tokens, out.Hidden[k].Value)
		}
	})
	if err := e.b.Backend.Sync(); err != nil {
		return nil, err
	}
	rows := n * e.rowLen()
	if cap(e.out) < rows {
		e.out = make([]float32, rows)
	}
	e.out = e.out[:rows]
	for j, t := range tokens {
		if t.DType() != tensor.F32 {
			wide := e.tape.A.New(tensor.F32, t.Shape()...)
			e.b.Backend.Copy(wide, t)
			t = wide
		}
		host := t
		if t.Device().Kind != tensor.CPU {
			host = tensor.Zeros(tensor.F32, t.Shape()...)
			e.b.Backend.Download(host, t)
		}
		e.place(l, host, j, clsOnly)
	}
	return e.out, e.b.Backend.Sync()
}

// place writes one layer's share of every row.
func (e *extractor) place(l *nn.Layout, tokens *tensor.Tensor, layer int, clsOnly bool) {
	d, width := e.v.Config.Dim, e.rowLen()
	joined := d * max(len(e.layers), 1)
	x := tokens.F32()
	at := func(row int32) []float32 { return x[int(row)*d : (int(row)+1)*d] }
	for i := range l.Crops {
		row := e.out[i*width : (i+1)*width]
		cls := l.CLSRow(0, i)
		if clsOnly {
			cls = int32(i)
		}
		switch e.features {
		case "cls":
			copy(row[layer*d:], at(cls))
		case "patches":
			for p := range e.patches {
				copy(row[p*joined+layer*d:], at(l.Row(0, i, p)))
			}
		case "cls+mean":
			copy(row[layer*d:], at(cls))
			e.mean(row[joined+layer*d:][:d], l, i, at)
		case "mean":
			e.mean(row[layer*d:][:d], l, i, at)
		}
	}
}

func (e *extractor) mean(dst []float32, l *nn.Layout, crop int, at func(int32) []float32) {
	sum := make([]float64, len(dst))
	for p := range e.patches {
		for k, v := range at(l.Row(0, crop, p)) {
			sum[k] += float64(v)
		}
	}
	for k := range dst {
		dst[k] = float32(sum[k] / float64(e.patches))
	}
}

// weightsDigest identifies the weights of a model.
func weightsDigest(b kernels.Backend, v *nn.ViT) string {
	h := sha256.New()
	for _, p := range v.Params.All() {
		fmt.Fprintln(h, p.Name, p.Shape)
		x := p.Value()
		if x.Device().Kind != tensor.CPU {
			host := tensor.Zeros(x.DType(), x.Shape()...)
			b.Download(host, x)
			x = host
		}
		h.Write(x.Bytes())
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
