package augment

import "math"

// precision is the number of fraction bits of the 8-bit resize: 32 bits less 8 of the sample and 2 for what negative
// lobes add.
const precision = 32 - 8 - 2

// support and kernel of the filters; the cubic is Keys' with a = -1/2.
func (f Filter) support() float64 {
	switch f {
	case Bilinear:
		return 1
	case Lanczos:
		return 3
	}
	return 2
}

func (f Filter) at(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch f {
	case Bilinear:
		return max(0, 1-x)
	case Lanczos:
		if x >= 3 {
			return 0
		}
		return sinc(x) * sinc(x/3)
	}
	switch {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	}
	return 0
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x *= math.Pi
	return math.Sin(x) / x
}

// table is the weights of one pass of a resize, laid out for the kernels: output i is the sum over k < count[i] of
// weight[i*stride+k] times input first[i]+k.
type table struct {
	stride int
	first  []int32
	count  []int32
	fixed  []int32   // with precision fraction bits, for 8-bit samples
	real   []float32 // for wider samples

	scratch []float64
}

// build fills the table for resizing the interval [lo, hi) of inputs 0…size-1 to out positions. The kernel is widened
// by the factor of shrinking; weights that would fall outside the inputs are cut and the rest made to sum to 1. This is
// Pillow's rule, with its rounding: the weights are computed in float64 and rounded half away from zero.
func (t *table) build(f Filter, size int, lo, hi float64, out int) {
	scale := (hi - lo) / float64(out)
	if f == Nearest {
		t.nearest(size, lo, scale, out)
		return
	}
	wide := max(1, scale)
	support := f.support() * wide
	t.stride = int(math.Ceil(support))*2 + 1
	t.first = grow(t.first, out)
	t.count = grow(t.count, out)
	t.fixed = grow(t.fixed, out*t.stride)
	t.real = grow(t.real, out*t.stride)
	t.scratch = grow(t.scratch, t.stride)
	inv := 1 / wide
	for i := range out {
		center := lo + (float64(i)+0.5)*scale
		from := max(0, int(center-support+0.5))
		n := min(size, int(center+support+0.5)) - from
		sum := 0.0
		w := t.scratch[:n]
		for k := range w {
			w[k] = f.at((float64(k+from) - center + 0.5) * inv)
			sum += w[k]
		}
		fixed, real := t.fixed[i*t.stride:(i+1)*t.stride], t.real[i*t.stride:(i+1)*t.stride]
		for k := range w {
			if sum != 0 {
				w[k] /= sum
			}
			real[k] = float32(w[k])
			half := 0.5
			if w[k] < 0 {
				half = -0.5
			}
			fixed[k] = int32(half + w[k]*(1<<precision))
		}
		t.first[i], t.count[i] = int32(from), int32(n)
	}
}

// nearest fills the table with one weight an output.
func (t *table) nearest(size int, lo, scale float64, out int) {
	t.stride = 1
	t.first, t.count = grow(t.first, out), grow(t.count, out)
	t.fixed, t.real = grow(t.fixed, out), grow(t.real, out)
	for i := range out {
		t.first[i] = int32(min(size-1, int(lo+(float64(i)+0.5)*scale)))
		t.count[i], t.fixed[i], t.real[i] = 1, 1<<precision, 1
	}
}

// grow is a slice of n elements that keeps the memory of an earlier one.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
