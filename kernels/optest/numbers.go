package optest

import (
	"math"

	"github.com/dino-mx/dmx/tensor"
)

// u is the unit roundoff of f32; flush the smallest normal f32, below which a result may become 0.
const (
	u     = 0x1p-24
	flush = 0x1p-126
)

// gamma bounds the relative error of a sum of n terms.
func gamma(n int) float64 { return u * math.Min(float64(n), 4*math.Sqrt(float64(n))+4) }

// round is v as a type keeps it.
func round(dtype tensor.DType, v float64) float64 {
	switch dtype {
	case tensor.F32:
		return float64(float32(v))
	case tensor.BF16:
		return float64(tensor.FromBF16(tensor.ToBF16(float32(v))))
	default:
		return v
	}
}

// storeLoss is the most that one rounding to the type can lose of a value of this magnitude: half a unit in the last
// place.
func storeLoss(dtype tensor.DType, magnitude float64) float64 {
	digits := 53
	switch dtype {
	case tensor.F32:
		digits = 24
	case tensor.BF16:
		digits = 8
	}
	if magnitude == 0 || math.IsInf(magnitude, 0) || math.IsNaN(magnitude) {
		return 0
	}
	_, exp := math.Frexp(magnitude)
	return math.Ldexp(1, exp-1-digits)
}

// put writes values into a host tensor, get reads them.
func put(t *tensor.Tensor, values []float64) {
	switch t.DType() {
	case tensor.F64:
		copy(t.F64(), values)
	case tensor.F32:
		for i, data := 0, t.F32(); i < len(values); i++ {
			data[i] = float32(values[i])
		}
	case tensor.BF16:
		for i, data := 0, t.BF16(); i < len(values); i++ {
			data[i] = tensor.ToBF16(float32(values[i]))
		}
	default:
		for i, v := range values {
			t.Set(i, v)
		}
	}
}

func get(t *tensor.Tensor) []float64 {
	values := make([]float64, t.Len())
	switch t.DType() {
	case tensor.F64:
		copy(values, t.F64())
	case tensor.F32:
		for i, v := range t.F32() {
			values[i] = float64(v)
		}
	case tensor.BF16:
		for i, v := range t.BF16() {
			values[i] = float64(tensor.FromBF16(v))
		}
	default:
		for i := range values {
			values[i] = t.At(i)
		}
	}
	return values
}

// A source draws the value of one element.
type source func(r *tensor.Rand) float64

// normal draws from a normal distribution.
func normal(std float64) source {
	return func(r *tensor.Rand) float64 { return std * r.Norm() }
}

// around draws from a normal distribution off zero.
func around(mean, std float64) source {
	return func(r *tensor.Rand) float64 { return mean + std*r.Norm() }
}

// uniform draws from [lo, hi).
func uniform(lo, hi float64) source {
	return func(r *tensor.Rand) float64 { return r.Uniform(lo, hi) }
}

// wild draws magnitudes over 2·bits powers of two, and now and then a zero.
func wild(bits float64) source {
	return func(r *tensor.Rand) float64 {
		if r.Bool(1.0 / 16) {
			return 0
		}
		return r.Norm() * math.Exp2(r.Uniform(-bits, bits))
	}
}
