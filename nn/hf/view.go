package hf

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// view is a safetensors.Source whose tensors are made of those of another: renamed, sliced, joined, constant or
// computed. Nothing is copied before it is read.
type view struct {
	src     safetensors.Source
	infos   []safetensors.Info
	entries map[string]*viewEntry
}

type viewEntry struct {
	info   safetensors.Info
	pieces []piece
	// compute returns the bytes, on first use, of the few tensors that need arithmetic.
	compute func() ([]byte, error)
	once    sync.Once
	made    []byte
	err     error
}

// piece is n bytes of a source tensor from byte off on, or n bytes of a repeated element.
type piece struct {
	name   string
	off, n int64
	fill   []byte
}

func newView(src safetensors.Source) *view {
	return &view{src: src, entries: map[string]*viewEntry{}}
}

func (v *view) add(name string, d safetensors.DType, shape tensor.Shape, e *viewEntry) {
	e.info = safetensors.Info{Name: name, DType: d, Shape: shape, End: int64(shape.Len()) * int64(d.Bits()) / 8}
	if old := v.entries[name]; old == nil {
		v.infos = append(v.infos, e.info)
	} else {
		for i := range v.infos {
			if v.infos[i].Name == name {
				v.infos[i] = e.info
			}
		}
	}
	v.entries[name] = e
}

// addPart adds one of several equal parts of a source tensor, counted along its rows.
func (v *view) addPart(name string, from safetensors.Info, shape tensor.Shape, part, parts int) {
	n := from.NumBytes() / int64(parts)
	v.add(name, from.DType, shape, &viewEntry{pieces: []piece{{name: from.Name, off: int64(part) * n, n: n}}})
}

// addFill adds a tensor of one repeated number.
func (v *view) addFill(name string, shape tensor.Shape, x float32) {
	v.add(name, safetensors.F32, shape, &viewEntry{pieces: []piece{{fill: binary.LittleEndian.AppendUint32(nil, math.Float32bits(x)), n: int64(shape.Len()) * 4}}})
}

// addComputed adds an f32 tensor that is computed when it is first read.
func (v *view) addComputed(name string, shape tensor.Shape, compute func() ([]float32, error)) {
	v.add(name, safetensors.F32, shape, &viewEntry{compute: func() ([]byte, error) {
		x, err := compute()
		if err != nil {
			return nil, err
		}
		if len(x) != shape.Len() {
			return nil, fmt.Errorf("tensor %q: computed %d numbers for %s", name, len(x), shape)
		}
		out := make([]byte, 0, 4*len(x))
		for _, f := range x {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(f))
		}
		return out, nil
	}})
}

// Tensors lists the tensors of the view.
func (v *view) Tensors() []safetensors.Info { return v.infos }

// Raw reads bytes of one tensor.
func (v *view) Raw(name string, off int64, dst []byte) error {
	e := v.entries[name]
	if e == nil {
		return fmt.Errorf("no tensor %q", name)
	}
	if e.compute != nil {
		e.once.Do(func() { e.made, e.err = e.compute() })
		if e.err == nil {
			copy(dst, e.made[off:])
		}
		return e.err
	}
	for _, p := range e.pieces {
		if len(dst) == 0 {
			return nil
		}
		if off >= p.n {
			off -= p.n
			continue
		}
		part := dst[:min(int64(len(dst)), p.n-off)]
		if p.fill != nil {
			for i := range part {
				part[i] = p.fill[(off+int64(i))%int64(len(p.fill))]
			}
		} else if err := v.src.Raw(p.name, p.off+off, part); err != nil {
			return err
		}
		dst, off = dst[len(part):], 0
	}
	return nil
}

// View returns a tensor that is a contiguous part of a mapped source tensor, or nil.
func (v *view) View(name string) *tensor.Tensor {
	src, ok := v.src.(safetensors.Viewer)
	e := v.entries[name]
	if !ok || e == nil || len(e.pieces) != 1 || e.pieces[0].fill != nil {
		return nil
	}
	p := e.pieces[0]
	t := src.View(p.name)
	if t == nil {
		return nil
	}
	size := int64(t.DType().Size())
	if p.off%size != 0 || p.n%size != 0 || p.n/size != int64(e.info.Shape.Len()) {
		return nil
	}
	return t.Reshape(t.Len()).Rows(int(p.off/size), int((p.off+p.n)/size)).Reshape(e.info.Shape...)
}

// floats reads a whole tensor of a source as float32.
func floats(src safetensors.Source, info safetensors.Info) ([]float32, error) {
	t := tensor.Zeros(tensor.F32, info.Shape...)
	if err := safetensors.Read(src, map[string]*tensor.Tensor{info.Name: t}); err != nil {
		return nil, err
	}
	return t.F32(), nil
}
