package nn

import (
	"fmt"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Builder makes models on one device.
type Builder struct {
	Backend kernels.Backend
	// DType is the working type, the element type that the model computes in: f32, bf16 (matrices then have an f32
	// master copy), or f64 in the oracle.
	DType tensor.DType
	// Train allocates gradients for the parameters that are not frozen. A teacher or an inference model needs none.
	Train bool
	// Stored returns the memory of a matrix that exists already, such as the view of a weight file, by the parameter's
	// name: a tensor of the working type and of the right length on the backend's device. Where it returns nil, the
	// matrix is allocated. It is not called for a model that is trained or whose working type needs master copies.
	Stored func(name string) *tensor.Tensor
}

// stored returns the existing memory of a parameter, or nil.
func (b Builder) stored(name string) *tensor.Tensor {
	if b.Stored == nil || b.Train || b.DType == tensor.BF16 {
		return nil
	}
	return b.Stored(name)
}

// NewTape makes a tape with its own arena, fit for models of this builder.
func (b Builder) NewTape() *autograd.Tape {
	return autograd.NewTape(b.Backend, tensor.NewArena(b.Backend.Allocator()), b.DType)
}

// registry starts the registry of a model.
func (b Builder) registry() *Params {
	ps := &Params{}
	if b.Train {
		ps.alloc = b.Backend.Allocator()
	}
	return ps
}

// done allocates the gradients, or returns the first error of the maker. what names the module that was made.
func (m *maker) done(what string) error {
	if m.err == nil {
		m.err = m.params.refresh()
	}
	if m.err != nil {
		return fmt.Errorf("nn: make %s: %w", what, m.err)
	}
	return nil
}

// maker allocates weights and keeps the first error, so that constructors read as a list of layers.
type maker struct {
	Builder
	params *Params
	err    error
}

// weight allocates a matrix or a vector. A bf16 model computes with bf16 matrices; vectors (biases, norms, LayerScale)
// and gradients are f32.
func (m *maker) weight(shape ...int) *Weight {
	if m.err != nil {
		return &Weight{Var: autograd.NewParam(nil, nil)}
	}
	masterType := m.DType
	if masterType == tensor.BF16 {
		masterType = tensor.F32
	}
	master := m.alloc(masterType, shape)
	value := master
	if m.DType != masterType && len(shape) > 1 {
		value = m.alloc(m.DType, shape)
	}
	if m.err != nil {
		return &Weight{Var: autograd.NewParam(nil, nil)}
	}
	return &Weight{Var: autograd.NewParam(value, nil), Master: master}
}

// matrix allocates a matrix unless it is stored already.
func (m *maker) matrix(name string, rows, cols int) *Weight {
	if t := m.stored(name); t != nil && m.err == nil {
		return m.over(t.Reshape(rows, cols))
	}
	return m.weight(rows, cols)
}

// over makes a weight of existing memory.
func (m *maker) over(t *tensor.Tensor) *Weight {
	return &Weight{Var: autograd.NewParam(t, nil), Master: t}
}

func (m *maker) alloc(dtype tensor.DType, shape []int) *tensor.Tensor {
	t, err := tensor.New(m.Backend.Allocator(), dtype, shape...)
	if err != nil && m.err == nil {
		m.err = err
	}
	return t
}

// param registers a parameter that consists of rows lo to hi of w.
func (m *maker) param(w *Weight, lo, hi int, p Param) *Param {
	if m.err != nil {
		return nil
	}
	p.Weight, p.Lo, p.Hi = w, lo, hi
	return m.params.add(&p)
}

// whole registers a parameter that consists of all rows of w.
func (m *maker) whole(w *Weight, p Param) {
	if m.err != nil {
		return
	}
	m.param(w, 0, w.Master.Dim(0), p)
}
