package hf

import (
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// DiffRow compares one tensor of two models.
type DiffRow struct {
	Name string
	// Same says that type, shape and every bit agree.
	Same bool
	// Only is the path of the one model that has the tensor; empty if both have.
	Only string
	// Shapes says how the shapes differ; empty if they agree.
	Shapes string
	// MaxAbs is max |a-b|, Relative is ‖a-b‖/‖a‖.
	MaxAbs, Relative float64
}

// Diff compares the tensors of two checkpoints under their Hugging Face names, in the order of the first.
func Diff(a, b *Checkpoint) ([]DiffRow, error) {
	var names []string
	for _, t := range append(slices.Clone(a.Tensors()), b.Tensors()...) {
		if !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
	}
	var rows []DiffRow
	for _, name := range names {
		x, y := a.view.entries[name], b.view.entries[name]
		row := DiffRow{Name: name}
		switch {
		case x == nil:
			row.Only = b.Path
		case y == nil:
			row.Only = a.Path
		case !x.info.Shape.Equal(y.info.Shape):
			row.Shapes = fmt.Sprintf("%s and %s", x.info.Shape, y.info.Shape)
		default:
			p, err := floats(a, x.info)
			if err != nil {
				return nil, err
			}
			q, err := floats(b, y.info)
			if err != nil {
				return nil, err
			}
			row.compare(p, q)
			row.Same = row.Same && x.info.DType == y.info.DType
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (r *DiffRow) compare(a, b []float32) {
	norm, diff := 0.0, 0.0
	r.Same = true
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			r.Same = false
		}
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if !(d <= r.MaxAbs) {
			r.MaxAbs = d
		}
		diff += d * d
		norm += float64(a[i]) * float64(a[i])
	}
	if diff > 0 {
		r.Relative = math.Sqrt(diff / norm)
	}
}

// Convert makes t, whose content is tensor i of src, one of another float type; 0 or the type it has keeps it.
// The tensor is in memory only while it is written.
func Convert(t safetensors.Tensor, src safetensors.Source, i safetensors.Info, d safetensors.DType) safetensors.Tensor {
	if d == 0 || d == i.DType {
		return t
	}
	return safetensors.Tensor{Name: t.Name, DType: d, Shape: t.Shape, Write: func(w io.Writer) error {
		x, err := floats(src, i)
		if err != nil {
			return err
		}
		out, err := safetensors.FromTensorAs(t.Name, tensor.FromF32(x, i.Shape...), d)
		if err != nil {
			return err
		}
		return out.Write(w)
	}}
}
