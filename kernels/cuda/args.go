package cuda

import (
	"encoding/binary"
	"math"

	"github.com/dino-mx/dmx/tensor"
)

// args collects the values of kernel parameters. Values follow one another in buf, each aligned to its size; params
// holds the offset of each parameter. Where a parameter lies on the device is for the driver to say.
type args struct {
	buf    []byte
	params []uint32
	align  int // of the struct that is being appended, 0 outside of one
}

func (a *args) reset() *args { a.buf, a.params = a.buf[:0], a.params[:0]; return a }

func (a *args) pad(n int) {
	for len(a.buf)%n != 0 {
		a.buf = append(a.buf, 0)
	}
}

// begin aligns the next value. Outside of a struct it is a parameter of its own.
func (a *args) begin(align int) {
	a.pad(align)
	if a.align == 0 {
		a.params = append(a.params, uint32(len(a.buf)))
	}
}

// beginStruct starts one parameter whose fields are the values appended until endStruct, laid out by the rules of C.
func (a *args) beginStruct(align int) *args {
	a.begin(align)
	a.align = align
	return a
}

// endStruct ends the struct, whose size is a multiple of its alignment.
func (a *args) endStruct() *args {
	a.pad(a.align)
	a.align = 0
	return a
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
	a.begin(8)
	a.buf = binary.LittleEndian.AppendUint64(a.buf, v)
	return a
}

func (a *args) u32(v uint32) *args {
	a.begin(4)
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
	a.begin(align)
	a.buf = append(a.buf, b...)
	return a
}

func (a *args) bool(v bool) *args {
	if v {
		return a.u32(1)
	}
	return a.u32(0)
}
