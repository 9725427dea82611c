package tensor

import (
	"fmt"
	"math"
	"unsafe"
)

// Tensor is a contiguous, row-major array over part of a buffer. Views share the buffer: a reshape, or a range
// of rows. It is immutable apart from its elements.
type Tensor struct {
	buf   *Buffer
	off   int // bytes from the start of buf
	n     int // elements
	dtype DType
	shape Shape
	block *block // the arena block that holds the elements; nil for other memory
}

// New allocates a tensor with undefined content.
func New(alloc Allocator, dtype DType, shape ...int) (*Tensor, error) {
	s := append(Shape(nil), shape...)
	buf, err := alloc.Alloc(s.Len() * dtype.Size())
	if err != nil {
		return nil, err
	}
	return Over(buf, 0, dtype, s...), nil
}

// Zeros makes a host tensor of zeros. It panics when the host has no memory left.
func Zeros(dtype DType, shape ...int) *Tensor {
	t, err := New(Host, dtype, shape...)
	if err != nil {
		panic(AllocationFailed(Host.Device(), Shape(shape).Len()*dtype.Size(), err))
	}
	clear(t.Bytes())
	return t
}

// Over makes a tensor on part of an existing buffer, from byte off on.
func Over(buf *Buffer, off int, dtype DType, shape ...int) *Tensor {
	s := append(Shape(nil), shape...)
	n := s.Len()
	if off < 0 || off+n*dtype.Size() > buf.Size {
		panic(fmt.Sprintf("tensor: %s%s at byte %d does not fit a buffer of %d bytes", dtype, s, off, buf.Size))
	}
	return &Tensor{buf: buf, off: off, n: n, dtype: dtype, shape: s}
}

// FromF32 makes a host tensor that shares data.
func FromF32(data []float32, shape ...int) *Tensor {
	return fromSlice(F32, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), 4*len(data)), len(data), shape)
}

// FromF64 makes a host tensor that shares data.
func FromF64(data []float64, shape ...int) *Tensor {
	return fromSlice(F64, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), 8*len(data)), len(data), shape)
}

// FromI32 makes a host tensor that shares data.
func FromI32(data []int32, shape ...int) *Tensor {
	return fromSlice(I32, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), 4*len(data)), len(data), shape)
}

func fromSlice(d DType, raw []byte, n int, shape Shape) *Tensor {
	if shape.Len() != n {
		panic(fmt.Sprintf("tensor: %d elements do not make shape %s", n, shape))
	}
	return Over(&Buffer{Host: raw, Size: len(raw)}, 0, d, shape...)
}

// Shape is the tensor's shape; the caller must not change it.
func (t *Tensor) Shape() Shape { return t.shape }

// Dim is the size of dimension i; negative i counts from the end.
func (t *Tensor) Dim(i int) int {
	if i < 0 {
		i += len(t.shape)
	}
	return t.shape[i]
}

// Len is the number of elements.
func (t *Tensor) Len() int { return t.n }

// DType is the element type.
func (t *Tensor) DType() DType { return t.dtype }

// Device returns the device that holds the elements.
func (t *Tensor) Device() Device { return t.buf.Device }

// NumBytes is the size of the elements in bytes.
func (t *Tensor) NumBytes() int { return t.n * t.dtype.Size() }

// Addr is the device address of the first element. It is 0 for host tensors.
func (t *Tensor) Addr() uint64 {
	if t.buf.Addr == 0 {
		return 0
	}
	return t.buf.Addr + uint64(t.off)
}

// Reshape views the same elements in another shape.
func (t *Tensor) Reshape(shape ...int) *Tensor {
	s := append(Shape(nil), shape...)
	if s.Len() != t.n {
		panic(fmt.Sprintf("tensor: cannot view %s as %s", t.shape, s))
	}
	v := *t
	v.shape = s
	return &v
}

// Rows views rows lo to hi (exclusive) of the first dimension.
func (t *Tensor) Rows(lo, hi int) *Tensor {
	if len(t.shape) == 0 || lo < 0 || hi < lo || hi > t.shape[0] {
		panic(fmt.Sprintf("tensor: rows %d:%d of shape %s", lo, hi, t.shape))
	}
	row := 1
	for _, d := range t.shape[1:] {
		row *= d
	}
	v := *t
	v.shape = append(Shape{hi - lo}, t.shape[1:]...)
	v.off += lo * row * t.dtype.Size()
	v.n = (hi - lo) * row
	return &v
}

// Bytes is the raw memory of a host tensor.
func (t *Tensor) Bytes() []byte {
	if t.buf.Host == nil && t.n > 0 {
		t.noBytes()
	}
	return t.buf.Host[t.off : t.off+t.n*t.dtype.Size()]
}

func (t *Tensor) noBytes() {
	if t.buf.Device.Kind == CPU {
		panic(fmt.Sprintf("tensor: %s%s is used after its memory was freed, or after the file it is a view of was closed", t.dtype, t.shape))
	}
	panic(fmt.Sprintf("tensor: %s%s lies on %s; download it first", t.dtype, t.shape, t.buf.Device))
}

// F32 is the elements of a host f32 tensor.
func (t *Tensor) F32() []float32 { return hostSlice[float32](t, F32) }

// F64 is the elements of a host f64 tensor.
func (t *Tensor) F64() []float64 { return hostSlice[float64](t, F64) }

// I32 is the elements of a host i32 tensor.
func (t *Tensor) I32() []int32 { return hostSlice[int32](t, I32) }

// U16 is the elements of a host u16 tensor.
func (t *Tensor) U16() []uint16 { return hostSlice[uint16](t, U16) }

// BF16 is the bit patterns of a host bf16 tensor.
func (t *Tensor) BF16() []uint16 { return hostSlice[uint16](t, BF16) }

func hostSlice[T any](t *Tensor, want DType) []T {
	if t.dtype != want {
		panic(fmt.Sprintf("tensor: %s%s read as %s", t.dtype, t.shape, want))
	}
	b := t.Bytes()
	if len(b) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), t.n)
}

// At reads element i of a host tensor of any type as a float64.
func (t *Tensor) At(i int) float64 {
	switch t.dtype {
	case F32:
		return float64(t.F32()[i])
	case F64:
		return t.F64()[i]
	case BF16:
		return float64(FromBF16(t.BF16()[i]))
	case I32:
		return float64(t.I32()[i])
	case U16:
		return float64(t.U16()[i])
	default:
		return float64(t.Bytes()[i])
	}
}

// Set writes element i of a host tensor of a float type, or of i32, from a float64.
func (t *Tensor) Set(i int, v float64) {
	switch t.dtype {
	case F32:
		t.F32()[i] = float32(v)
	case F64:
		t.F64()[i] = v
	case BF16:
		t.BF16()[i] = ToBF16(float32(v))
	case I32:
		t.I32()[i] = int32(v)
	default:
		panic("tensor: Set on " + t.dtype.String())
	}
}

// String describes the tensor without its elements, for messages.
func (t *Tensor) String() string { return fmt.Sprintf("%s%s@%s", t.dtype, t.shape, t.buf.Device) }

// FromBF16 widens a bfloat16 bit pattern.
func FromBF16(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// ToBF16 rounds to the nearest bfloat16, ties to even; NaN stays NaN.
func ToBF16(f float32) uint16 {
	u := math.Float32bits(f)
	if u&0x7fffffff > 0x7f800000 {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + (u>>16)&1) >> 16)
}
