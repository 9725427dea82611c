package source

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/dino-mx/dmx/data"
)

// arrays is a source of raw pictures of one size that lie one after the other: IDX or npz.
type arrays struct {
	where      string // of the images, for messages
	n, h, w, c int
	bits       int
	order      binary.ByteOrder // of 16-bit samples
	labels     []int32          // nil without
	classes    []string
	memory     []byte // all pictures, or nil:
	read       func(off int64, n int, buf []byte) ([]byte, error)
}

func (a *arrays) Len() int          { return a.n }
func (a *arrays) Classes() []string { return a.classes }
func (a *arrays) Channels() int     { return a.c }
func (a *arrays) ID(i int) string   { return a.where + "#" + strconv.Itoa(i) }

func (a *arrays) Label(i int) (int, bool) {
	if a.labels == nil {
		return 0, false
	}
	return int(a.labels[i]), true
}

func (a *arrays) Decode(i int, m *data.Image) error {
	size := a.h * a.w * a.c * a.bits / 8
	var raw []byte
	if a.memory != nil {
		raw = a.memory[i*size : (i+1)*size]
	} else {
		buf := encoded.Get().(*[]byte)
		defer encoded.Put(buf)
		b, err := a.read(int64(i)*int64(size), size, (*buf)[:0])
		if err != nil {
			return fmt.Errorf("%s: %w", a.ID(i), err)
		}
		*buf, raw = b, b
	}
	m.Reset(a.c, a.h, a.w, a.bits)
	plane := a.h * a.w
	switch {
	case a.bits == 8 && a.c == 1:
		copy(m.U8, raw)
	case a.bits == 8:
		for c := range a.c {
			out := m.U8[c*plane : (c+1)*plane]
			for p := range out {
				out[p] = raw[p*a.c+c]
			}
		}
	default:
		for c := range a.c {
			out := m.U16[c*plane : (c+1)*plane]
			for p := range out {
				out[p] = a.order.Uint16(raw[2*(p*a.c+c):])
			}
		}
	}
	return nil
}

// size checks the shape of an array of pictures: [N, H, W] or [N, H, W, C]. It returns the bytes of all of them.
func (a *arrays) size(shape []int64) (int64, error) {
	if len(shape) == 3 {
		shape = append(shape, 1)
	}
	if len(shape) != 4 {
		return 0, fmt.Errorf("shape %v: expected [N, H, W] or [N, H, W, C]", shape)
	}
	for _, d := range shape {
		if d <= 0 || d > 1<<31-1 {
			return 0, fmt.Errorf("shape %v: every dimension must be from 1 to %d", shape, 1<<31-1)
		}
	}
	if shape[3] > data.MaxChannels {
		return 0, fmt.Errorf("shape %v: %d channels; expected [N, H, W] or [N, H, W, C] with C at most %d", shape, shape[3], data.MaxChannels)
	}
	if shape[1] > data.MaxPixels/shape[2] {
		return 0, fmt.Errorf("shape %v: pictures of more than %d pixels", shape, data.MaxPixels)
	}
	a.n, a.h, a.w, a.c = int(shape[0]), int(shape[1]), int(shape[2]), int(shape[3])
	one := shape[1] * shape[2] * shape[3] * int64(a.bits/8)
	if shape[0] > (1<<62)/one {
		return 0, fmt.Errorf("shape %v is larger than any file", shape)
	}
	return shape[0] * one, nil
}

// setLabels keeps the classes, which are named by their numbers.
func (a *arrays) setLabels(labels []int32) error {
	if len(labels) != a.n {
		return fmt.Errorf("%d labels for %d images", len(labels), a.n)
	}
	top := int32(0)
	for i, l := range labels {
		if l < 0 || l >= 1<<20 {
			return fmt.Errorf("label %d of image %d: expected 0 to %d", l, i, 1<<20-1)
		}
		top = max(top, l)
	}
	a.labels = labels
	a.classes = make([]string, top+1)
	for i := range a.classes {
		a.classes[i] = strconv.Itoa(i)
	}
	return nil
}
