package source

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/dino-mx/dmx/data"
)

// arrays is a source of raw pictures of one size that lie one after the other: IDX or npz.
type arrays struct {
	where      string // of the images, for messages
	n, h, w, c int
	typ        data.Type
	order      binary.ByteOrder // of samples of more than a byte
	labels     []int32          // nil without
	wanted     int              // channels of the pictures as the caller gets them, 0 for c
	planar     bool             // the channels of a picture lie one after the other
	classes    []string
	memory     []byte // all pictures, or nil:
	read       func(off int64, n int, buf []byte) ([]byte, error)
}

func (a *arrays) Len() int          { return a.n }
func (a *arrays) Classes() []string { return a.classes }
func (a *arrays) ID(i int) string   { return printable(a.where) + "#" + strconv.Itoa(i) }

func (a *arrays) stored() int { return a.c }

func (a *arrays) Channels() int {
	if a.wanted > 0 {
		return a.wanted
	}
	return a.c
}

// want sets the number of channels if those of the array are grey or colours, with or without alpha.
func (a *arrays) want(channels int) error {
	if a.c <= 4 && (channels == 1 || channels == 3) {
		a.wanted = channels
	}
	return nil
}

func (a *arrays) Label(i int) (int, bool) {
	if a.labels == nil {
		return 0, false
	}
	return int(a.labels[i]), true
}

// bytes is the length of a stored sample.
func (a *arrays) bytes() int {
	switch a.typ {
	case data.U8:
		return 1
	case data.F32:
		return 4
	}
	return 2
}

func (a *arrays) Decode(i int, s *data.Sample) error {
	s.Reset()
	m := &s.Image
	size := a.h * a.w * a.c * a.bytes()
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
	m.Reset(a.c, a.h, a.w, a.typ)
	switch a.typ {
	case data.U8:
		if a.c == 1 || a.planar {
			copy(m.U8, raw)
			break
		}
		for c := range a.c {
			plane := m.Plane8(c)
			for p := range plane {
				plane[p] = raw[p*a.c+c]
			}
		}
	case data.U16:
		a.spread(func(to, from int) { m.U16[to] = a.order.Uint16(raw[2*from:]) })
	case data.I16:
		a.spread(func(to, from int) { m.I16[to] = int16(a.order.Uint16(raw[2*from:])) })
	case data.F32:
		a.spread(func(to, from int) { m.F32[to] = math.Float32frombits(a.order.Uint32(raw[4*from:])) })
		for k, v := range m.F32 {
			if !(v >= 0 && v <= 1) {
				return fmt.Errorf("%s: sample %d is %v; float images must lie in 0 to 1", a.ID(i), k, v)
			}
		}
	}
	if a.wanted > 0 {
		convert(m, a.wanted)
	}
	return nil
}

// spread calls set for every sample of a picture with its place in an Image and in the array.
func (a *arrays) spread(set func(to, from int)) {
	plane := a.h * a.w
	for c := range a.c {
		for p := range plane {
			if a.planar {
				set(c*plane+p, c*plane+p)
			} else {
				set(c*plane+p, p*a.c+c)
			}
		}
	}
}

// size checks the shape of an array of pictures: [N, H, W], [N, H, W, C] or, channels first, [N, C, H, W]. It returns
// the bytes of all of them. More channels than pictures have are read as such only if they are as many as wanted.
func (a *arrays) size(shape []int64, wanted int) (int64, error) {
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
	stored := shape
	if shape[3] > colours {
		switch first, last, side := shape[1], shape[3], min(shape[1], shape[2]); {
		case first <= colours:
			a.planar = true
			shape = []int64{shape[0], shape[2], shape[3], shape[1]}
		case last != int64(wanted) && (last > spectral || last >= side) || last > data.MaxChannels:
			return 0, fmt.Errorf("shape %v: volumes of %d x %d x %d voxels, or pictures of %d channels, are not supported; "+
				"save the slices as [N, H, W], or pictures as [N, H, W, C] with C at most %d and less than H and W", stored,
				first, shape[2], last, last, spectral)
		}
	}
	if shape[1] > data.MaxPixels/shape[2] {
		return 0, fmt.Errorf("shape %v: pictures of more than %d pixels", stored, data.MaxPixels)
	}
	a.n, a.h, a.w, a.c = int(shape[0]), int(shape[1]), int(shape[2]), int(shape[3])
	one := shape[1] * shape[2] * shape[3] * int64(a.bytes())
	if shape[0] > (1<<62)/one {
		return 0, fmt.Errorf("shape %v is larger than any file", stored)
	}
	return shape[0] * one, nil
}

// colours is the most channels of a picture in colours, which has three and alpha; spectral is the most of any.
const (
	colours  = 4
	spectral = 16
)

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
