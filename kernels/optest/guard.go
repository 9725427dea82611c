package optest

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// margin is the number of guard bytes before and after a tensor; before it there may be one element more. Its byte
// is NaN in every float type and -1 in i32.
const (
	margin = 512
	poison = 0xff
)

// guarded is one tensor of a backend between two margins.
type guarded struct {
	backend kernels.Backend
	buf     *tensor.Buffer
	all     *tensor.Tensor // the whole buffer as bytes
	host    *tensor.Tensor // the same on the host
	lo, hi  int            // where the tensor's bytes lie
	t       *tensor.Tensor
}

func guard(b kernels.Backend, dtype tensor.DType, shape []int, shifted bool) (*guarded, error) {
	bytes := tensor.Shape(shape).Len() * dtype.Size()
	lo := margin
	if shifted {
		lo += dtype.Size()
	}
	size := lo + bytes + margin
	buf, err := b.Allocator().Alloc(size)
	if err != nil {
		return nil, err
	}
	return &guarded{
		backend: b, buf: buf, lo: lo, hi: lo + bytes,
		all:  tensor.Over(buf, 0, tensor.U8, size),
		host: tensor.Zeros(tensor.U8, size),
		t:    tensor.Over(buf, lo, dtype, shape...),
	}, nil
}

// write uploads values between fresh margins.
func (g *guarded) write(values []float64) {
	raw := g.host.Bytes()
	for i := range raw {
		raw[i] = poison
	}
	put(g.view(), values)
	g.backend.Upload(g.all, g.host)
}

// read downloads the values and checks the margins.
func (g *guarded) read() ([]float64, error) {
	g.backend.Download(g.host, g.all)
	values, raw := get(g.view()), g.host.Bytes()
	for i, v := range raw[:g.lo] {
		if v != poison {
			return values, fmt.Errorf("wrote %d bytes before the start", g.lo-i)
		}
	}
	for i, v := range raw[g.hi:] {
		if v != poison {
			return values, fmt.Errorf("wrote at byte %d past the end", i)
		}
	}
	return values, nil
}

// view is the tensor's part of the host copy.
func (g *guarded) view() *tensor.Tensor {
	return tensor.Over(&tensor.Buffer{Host: g.host.Bytes(), Size: g.host.Len()}, g.lo, g.t.DType(), g.t.Shape()...)
}

func (g *guarded) free() { g.backend.Allocator().Free(g.buf) }
