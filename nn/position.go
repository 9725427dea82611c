package nn

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// gridKey names one resampling of the position table.
type gridKey struct {
	h, w   int
	square bool
}

// resample returns the matrix [gh·gw, M·M] that resamples the trained grid of positions to the grid of a group, or nil
// for the trained grid itself. It is made once for each grid.
func (v *ViT) resample(q *GroupLayout) *tensor.Tensor {
	m := v.Config.Grid()
	key := gridKey{q.GridH, q.GridW, q.Height == q.Width}
	if key.h == m && key.w == m && (key.square || v.Config.Interpolation != InterpolateOffset) {
		return nil
	}
	if r, ok := v.resamples[key]; ok {
		return r
	}
	rows, cols := q.GridH*q.GridW, m*m
	var host *tensor.Tensor
	if v.CLS.Master.DType() == tensor.F64 {
		w := resampleMatrix[float64](v.Config.Interpolation, m, q.GridH, q.GridW)
		host = tensor.FromF64(w, rows, cols)
	} else {
		w := ResampleMatrix(v.Config.Interpolation, m, q.GridH, q.GridW)
		host = tensor.FromF32(w, rows, cols)
	}
	r, err := kernels.FromHost(v.backend, host)
	if err != nil {
		panic(err)
	}
	if v.resamples == nil {
		v.resamples = map[gridKey]*tensor.Tensor{}
	}
	v.resamples[key] = r
	return r
}

// ResampleMatrix is the bicubic resampling of an m x m grid to gh x gw as a dense matrix [gh·gw, m·m], both grids
// row by row. Weights are rounded to float32 as PyTorch's interpolate rounds them.
func ResampleMatrix(rule Interpolation, m, gh, gw int) []float32 {
	return resampleMatrix[float32](rule, m, gh, gw)
}

type float interface{ float32 | float64 }

func resampleMatrix[T float](rule Interpolation, m, gh, gw int) []T {
	rows, cols := axisWeights[T](rule, m, gh), axisWeights[T](rule, m, gw)
	out := make([]T, gh*gw*m*m)
	for y := 0; y < gh; y++ {
		for x := 0; x < gw; x++ {
			dst := out[(y*gw+x)*m*m:]
			for i, a := range rows[y*m : (y+1)*m] {
				if a == 0 {
					continue
				}
				for j, b := range cols[x*m : (x+1)*m] {
					dst[i*m+j] = a * b
				}
			}
		}
	}
	return out
}

// axisWeights is the matrix [g, m] of one axis.
func axisWeights[T float](rule Interpolation, m, g int) []T {
	w := make([]T, g*m)
	if rule == InterpolateAntialias {
		antialiasWeights(w, m, g)
		return w
	}
	scale := T(m) / T(g)
	if rule == InterpolateOffset {
		scale = T(1 / ((float64(g) + 0.1) / float64(m)))
	}
	for i := 0; i < g; i++ {
		src := scale*(T(i)+0.5) - 0.5
		base := T(math.Floor(float64(src)))
		f := src - base
		taps := [4]T{outer(f + 1), inner(f), inner(1 - f), outer(2 - f)}
		for k, c := range taps {
			j := min(max(int(base)-1+k, 0), m-1)
			w[i*m+j] += c
		}
	}
	return w
}

// inner and outer are the two pieces of the cubic convolution kernel with A = -0.75, for distances up to 1 and
// from 1 to 2 (Keys, "Cubic convolution interpolation for digital image processing", 1981).
func inner[T float](x T) T {
	const a = -0.75
	return ((a+2)*x-(a+3))*x*x + 1
}

func outer[T float](x T) T {
	const a = -0.75
	return ((a*x-5*a)*x+8*a)*x - 4*a
}

// antialiasWeights fills w with normalised cubic weights (A = -0.5). The kernel is widened when the grid shrinks and
// truncated at the border.
func antialiasWeights[T float](w []T, m, g int) {
	if m == g {
		for i := 0; i < m; i++ {
			w[i*m+i] = 1
		}
		return
	}
	scale := T(m) / T(g)
	support, inv := 2*max(scale, 1), T(1)
	if scale >= 1 {
		inv = 1 / scale
	}
	for i := 0; i < g; i++ {
		center := scale * (T(i) + 0.5)
		lo := max(int(center-support+0.5), 0)
		n := min(int(center+support+0.5), m) - lo
		sum := T(0)
		row := w[i*m : (i+1)*m]
		for j := 0; j < n; j++ {
			row[lo+j] = cubic((T(j+lo) - center + 0.5) * inv)
			sum += row[lo+j]
		}
		for j := 0; j < n; j++ {
			row[lo+j] /= sum
		}
	}
}

// cubic is the convolution kernel with A = -0.5.
func cubic[T float](x T) T {
	const a = -0.5
	x = max(x, -x)
	switch {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	}
	return 0
}
