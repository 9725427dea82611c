package ref

import (
	"math"

	"github.com/dino-mx/dmx/tensor"
)

// begin starts an operation: the scratch slices of the one before are free again.
func (b *Backend) begin() { b.used = 0 }

// take returns n scratch values of undefined content, good until the next operation.
func (b *Backend) take(n int) []float64 {
	if b.used == len(b.scratch) {
		b.scratch = append(b.scratch, nil)
	}
	if cap(b.scratch[b.used]) < n {
		b.scratch[b.used] = make([]float64, n)
	}
	s := b.scratch[b.used][:n]
	b.used++
	return s
}

// zeros is take, cleared.
func (b *Backend) zeros(n int) []float64 {
	s := b.take(n)
	clear(s)
	return s
}

// load reads a tensor: in place if it is f64, else widened into scratch.
func (b *Backend) load(t *tensor.Tensor) []float64 {
	if t.DType() == tensor.F64 {
		return t.F64()
	}
	s := b.take(t.Len())
	fetch(s, t, 0)
	return s
}

// loadOr reads a tensor that may be nil and then is n times v.
func (b *Backend) loadOr(t *tensor.Tensor, n int, v float64) []float64 {
	if t != nil {
		return b.load(t)
	}
	s := b.take(n)
	for i := range s {
		s[i] = v
	}
	return s
}

// fetch widens elements off to off+len(dst) of t.
func fetch(dst []float64, t *tensor.Tensor, off int) {
	switch t.DType() {
	case tensor.F64:
		copy(dst, t.F64()[off:])
	case tensor.F32:
		for i, v := range t.F32()[off : off+len(dst)] {
			dst[i] = float64(v)
		}
	case tensor.BF16:
		for i, v := range t.BF16()[off : off+len(dst)] {
			dst[i] = float64(tensor.FromBF16(v))
		}
	default:
		panic("ref: " + t.DType().String() + " holds no reals")
	}
}

// store rounds values into t from element off on.
func store(t *tensor.Tensor, off int, v []float64) {
	switch t.DType() {
	case tensor.F64:
		copy(t.F64()[off:off+len(v)], v)
	case tensor.F32:
		dst := t.F32()[off : off+len(v)]
		for i, x := range v {
			dst[i] = float32(x)
		}
	case tensor.BF16:
		dst := t.BF16()[off : off+len(v)]
		for i, x := range v {
			dst[i] = roundBF16(x)
		}
	default:
		panic("ref: " + t.DType().String() + " holds no reals")
	}
}

// addTo is store, or with accumulate the sum of what t holds and v.
func (b *Backend) addTo(t *tensor.Tensor, off int, v []float64, accumulate bool) {
	if accumulate {
		old := b.take(len(v))
		fetch(old, t, off)
		for i := range v {
			v[i] += old[i]
		}
		b.used--
	}
	store(t, off, v)
}

// roundBF16 rounds once. Going through f32 would round twice, which is wrong where the f32 lies half way between
// two bf16 and the value beside it.
func roundBF16(v float64) uint16 {
	f := float32(v)
	u := math.Float32bits(f)
	if u&0xffff == 0x8000 && float64(f) != v {
		if math.Abs(v) > math.Abs(float64(f)) {
			return uint16(u>>16) + 1
		}
		return uint16(u >> 16)
	}
	return tensor.ToBF16(f)
}

// round is a value as the inner type of a plain implementation keeps it.
func (b *Backend) round(v float64) float64 {
	switch b.inner {
	case tensor.F32:
		return float64(float32(v))
	case tensor.BF16:
		return float64(tensor.FromBF16(roundBF16(v)))
	default:
		return v
	}
}

// dot keeps four sums, which a processor adds at the same time; the oracle's products take most of the time of the
// tests that use it.
func dot(a, b []float64) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + (s2 + s3)
}
