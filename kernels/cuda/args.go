package cuda

import (
	"encoding/binary"
	"math"

	"github.com/dino-mx/dmx/tensor"
)

// args packs kernel parameters: every value aligned to its size, as C lays out a struct.
type args struct{ buf []byte }

func (a *args) reset() *args { a.buf = a.buf[:0]; return a }

func (a *args) align(n int) {
	for len(a.buf)%n != 0 {
		a.buf = append(a.buf, 0)
	}
}

// ptr appends the address of a tensor, null for nil.
func (a *args) ptr(t *tensor.Tensor) *args {
	if t == nil {
		return a.u64(0)
	}
	return a.u64(t.Addr())
}

// any appends the address of a tensor of either float type: bf16 is marked in the lowest bit (Any in prelude.h).
func (a *args) any(t *tensor.Tensor) *args { return a.u64(anyAddr(t)) }

func anyAddr(t *tensor.Tensor) uint64 {
	if t == nil {
		return 0
	}
	v := t.Addr()
	if t.DType() == tensor.BF16 {
		v |= 1
	}
	return v
}

func (a *args) u64(v uint64) *args {
	a.align(8)
	a.buf = binary.LittleEndian.AppendUint64(a.buf, v)
	return a
}

func (a *args) u32(v uint32) *args {
	a.align(4)
	a.buf = binary.LittleEndian.AppendUint32(a.buf, v)
	return a
}

func (a *args) i32(vs ...int) *args {
	for _, v := range vs {
		if int(int32(v)) != v {
			panic("cuda: a size does not fit 32 bits")
		}
		a.u32(uint32(int32(v)))
	}
	return a
}

func (a *args) f32(vs ...float64) *args {
	for _, v := range vs {
		a.u32(math.Float32bits(float32(v)))
	}
	return a
}

// bytes appends a parameter passed by value, such as an encoded tensor map.
func (a *args) bytes(align int, b []byte) *args {
	a.align(align)
	a.buf = append(a.buf, b...)
	return a
}

func (a *args) bool(v bool) *args {
	if v {
		return a.u32(1)
	}
	return a.u32(0)
}
