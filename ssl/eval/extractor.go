package eval

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
)

// Kind says which tokens of an image are its features.
type Kind string

// Kinds of features.
const (
	CLS     Kind = "cls"      // the CLS token, [D]
	Mean    Kind = "mean"     // the mean of the patch tokens, [D]
	CLSMean Kind = "cls+mean" // both joined, [2D]
	Patches Kind = "patches"  // every patch token, [P, D]
)

// Extractor turns batches of images into rows of features.
type Extractor struct {
	v       *nn.ViT
	b       nn.Builder
	tape    *autograd.Tape
	kind    Kind
	layers  []int // blocks counted from 1; empty for the normed output
	patches int
	host    *tensor.Tensor // f32 tokens of a batch, where the device has memory of its own
	out     []float32
}

// NewExtractor returns an extractor of a model that was built with b, for views of one size. Features are the tokens
// after the final norm or, with layers, those after the blocks of these numbers, counted from 1 and joined in this order
// along the feature axis.
func NewExtractor(b nn.Builder, v *nn.ViT, kind Kind, layers []int, view data.ViewSpec) (*Extractor, error) {
	if !slices.Contains([]Kind{CLS, Mean, CLSMean, Patches}, kind) {
		return nil, fmt.Errorf("features %q: expected cls, mean, cls+mean or patches", kind)
	}
	for _, l := range layers {
		if l < 1 || l > v.Config.Depth {
			return nil, &LayerError{Layer: l, Depth: v.Config.Depth}
		}
	}
	p := v.Config.PatchSize
	if view.Height < p || view.Width < p {
		return nil, fmt.Errorf("a view of %d x %d pixels is smaller than one patch of %d", view.Height, view.Width, p)
	}
	patches := (view.Height / p) * (view.Width / p)
	return &Extractor{v: v, b: b, tape: b.NewTape(), kind: kind, layers: layers, patches: patches}, nil
}

// LayerError is the error of a block that the model does not have.
type LayerError struct{ Layer, Depth int }

func (e *LayerError) Error() string {
	return fmt.Sprintf("layer %d: the model has blocks 1 to %d", e.Layer, e.Depth)
}

// Close frees the memory of the device.
func (e *Extractor) Close() { e.tape.A.Release() }

// Shape returns the shape of one image's features.
func (e *Extractor) Shape() []int {
	d := e.v.Config.Dim * max(len(e.layers), 1)
	switch e.kind {
	case Patches:
		return []int{e.patches, d}
	case CLSMean:
		return []int{2 * d}
	}
	return []int{d}
}

// RowLen returns the number of values of one image's features.
func (e *Extractor) RowLen() int { return tensor.Shape(e.Shape()).Len() }

// Run returns the features of images [B, C, H, W] as B rows of RowLen values. The next call overwrites them.
func (e *Extractor) Run(images *tensor.Tensor) (_ []float32, err error) {
	defer e.tape.Reset()
	defer tensor.CatchOutOfMemory(&err)
	b := e.b.Backend
	if images.Device() != b.Allocator().Device() {
		in := e.tape.A.New(tensor.F32, images.Shape()...)
		b.Upload(in, images)
		images = in
	}
	groups := []nn.Group{{Images: images}}
	l, err := e.v.Layout(groups)
	if err != nil {
		return nil, err
	}
	o := nn.Options{Hidden: len(e.layers) > 0}
	clsOnly := e.kind == CLS && !o.Hidden
	if clsOnly {
		o.Rows = l.CLSRows()
	}
	var tokens []*tensor.Tensor
	e.tape.NoGrad(func() {
		out := e.v.Forward(e.tape, l, groups, o)
		if !o.Hidden {
			tokens = append(tokens, out.Tokens.Value)
		}
		for _, k := range e.layers {
			tokens = append(tokens, out.Hidden[k].Value)
		}
	})
	e.out = slices.Grow(e.out[:0], images.Dim(0)*e.RowLen())[:images.Dim(0)*e.RowLen()]
	for j, t := range tokens {
		t, err := e.toHost(t)
		if err != nil {
			return nil, err
		}
		e.place(l, t.F32(), j, clsOnly)
	}
	return e.out, nil
}

// toHost returns tokens as f32 on the host, when they are computed. The next call overwrites a copy.
func (e *Extractor) toHost(t *tensor.Tensor) (*tensor.Tensor, error) {
	b := e.b.Backend
	if t.DType() != tensor.F32 {
		wide := e.tape.A.New(tensor.F32, t.Shape()...)
		b.Copy(wide, t)
		t = wide
	}
	if t.Device().Kind == tensor.CPU {
		return t, b.Sync()
	}
	if e.host == nil || e.host.Dim(0) < t.Dim(0) {
		e.host = tensor.Zeros(tensor.F32, t.Shape()...)
	}
	host := e.host.Rows(0, t.Dim(0))
	b.Download(host, t)
	return host, b.Sync()
}

// place writes the features of one layer, tokens x, into every row.
func (e *Extractor) place(l *nn.Layout, x []float32, layer int, clsOnly bool) {
	d, width := e.v.Config.Dim, e.RowLen()
	joined := d * max(len(e.layers), 1)
	at := func(row int32) []float32 { return x[int(row)*d : (int(row)+1)*d] }
	for i := range l.Crops {
		row := e.out[i*width : (i+1)*width]
		cls := l.CLSRow(0, i)
		if clsOnly {
			cls = int32(i)
		}
		switch e.kind {
		case CLS:
			copy(row[layer*d:], at(cls))
		case Patches:
			for p := range e.patches {
				copy(row[p*joined+layer*d:], at(l.Row(0, i, p)))
			}
		case CLSMean:
			copy(row[layer*d:], at(cls))
			e.mean(row[joined+layer*d:][:d], l, i, at)
		case Mean:
			e.mean(row[layer*d:][:d], l, i, at)
		}
	}
}

// mean writes the mean of the patch tokens of a crop, summed in float64.
func (e *Extractor) mean(dst []float32, l *nn.Layout, crop int, at func(int32) []float32) {
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

// Identity describes all that the features depend on besides the images: the weights, by a hash of their bits, the
// model's shape, the element type, the kind of features and the layers.
func (e *Extractor) Identity() string {
	h := sha256.New()
	for _, p := range e.v.Params.All() {
		fmt.Fprintln(h, p.Name, p.Shape)
		h.Write(kernels.ToHost(e.b.Backend, p.Value()).Bytes())
	}
	return fmt.Sprintf("model %s %+v\ntype %s\nfeatures %s\nlayers %v\nrow %d\n",
		hex.EncodeToString(h.Sum(nil))[:16], e.v.Config, e.b.DType, e.kind, e.layers, e.RowLen())
}
