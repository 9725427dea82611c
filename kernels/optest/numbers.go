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
