package safetensors

import (
	"encoding/binary"
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// NonFiniteError says that a stored tensor holds a NaN or an infinity.
type NonFiniteError struct {
	Info  Info
	Index int // of the first such element, in row-major order
	Value float64
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("tensor %q: element %d of %s is %g, which is no usable weight", e.Info.Name, e.Index, e.Info.DType.String()+e.Info.Shape.String(), e.Value)
}

// CheckFinite reads every tensor of a float type and returns a *NonFiniteError for the first one, in the order of the
// source, that holds a NaN or an infinity.
func CheckFinite(src Source) error {
	var jobs []readJob
	for _, t := range src.Tensors() {
		if exponentMask(t.DType) == 0 {
			continue
		}
		elements := t.Shape.Len()
		for lo := 0; lo < elements; lo += chunkBytes {
			jobs = append(jobs, readJob{info: t, lo: lo, hi: min(elements, lo+chunkBytes), check: true})
		}
	}
	return runJobs(src, jobs)
}

// exponentMask has the exponent bits of a float type, which are all ones for a NaN and an infinity; it is 0 for other
// types.
func exponentMask(d DType) uint64 {
	switch d {
	case F16:
		return 0x7c00
	case BF16:
		return 0x7f80
	case F32:
		return 0x7f800000
	case F64:
		return 0x7ff0000000000000
	}
	return 0
}

// firstNonFinite is the index of the first element of raw, of the float type d, that is not finite, or -1. It looks at
// eight bytes at a time: adding one to the lowest exponent bit carries into the sign bit of just the elements whose
// exponent is all ones.
func firstNonFinite(raw []byte, d DType) int {
	mask, size := exponentMask(d), d.Bits()/8
	if mask == 0 {
		return -1
	}
	lowest := mask & -mask
	sign := uint64(1) << (d.Bits() - 1)
	for shift := d.Bits(); shift < 64; shift *= 2 {
		lowest |= lowest << shift
		sign |= sign << shift
	}
	p := raw
	for ; len(p) >= 32; p = p[32:] {
		a := binary.LittleEndian.Uint64(p)&^sign + lowest
		b := binary.LittleEndian.Uint64(p[8:])&^sign + lowest
		c := binary.LittleEndian.Uint64(p[16:])&^sign + lowest
		e := binary.LittleEndian.Uint64(p[24:])&^sign + lowest
		if (a|b|c|e)&sign != 0 {
			break
		}
	}
	for i := (len(raw) - len(p)) / size; i < len(raw)/size; i++ {
		var word [8]byte
		copy(word[:], raw[i*size:(i+1)*size])
		if binary.LittleEndian.Uint64(word[:])&mask == mask {
			return i
		}
	}
	return -1
}

// checkFinite checks elements lo to hi of a tensor that was read, which it has as raw bytes of type d.
func (j readJob) checkFinite(lo int, raw []byte, d DType) error {
	i := firstNonFinite(raw, d)
	if i < 0 {
		return nil
	}
	size := d.Bits() / 8
	return &NonFiniteError{Info: j.info, Index: lo + i, Value: floatAt(d, raw[i*size:(i+1)*size])}
}

// ReadFinite is Read, and a *NonFiniteError for the first tensor, in the order of the source, whose values are not all
// finite in the type they are read into. The destinations hold undefined values then.
func ReadFinite(src Source, dst map[string]*tensor.Tensor) error { return read(src, dst, true) }
