package gemm

import (
	"unsafe"

	"github.com/dino-mx/dmx/tensor"
)

// portable is the family in plain Go: a 4×8 tile, each of whose elements is kept in a local array.
var portable = kernel{
	mr: 4, lanes: 4, vecs: 2,
	tile: portableTiles(), unroll: 4,
	transpose: func(dst *float32, src unsafe.Pointer, ld, n, k, stride int) {
		transposeGo[float32](dst, src, ld, n, k, stride)
	},
	gather: func(dst *float32, src unsafe.Pointer, ld, n, k, stride int) {
		gatherGo[float32](dst, src, ld, n, k, stride, 4)
	},
	transposeBF16: func(dst *float32, src unsafe.Pointer, ld, n, k, stride int) {
		transposeGo[uint16](dst, src, ld, n, k, stride)
	},
	gatherBF16: func(dst *float32, src unsafe.Pointer, ld, n, k, stride int) {
		gatherGo[uint16](dst, src, ld, n, k, stride, 4)
	},
	panel: panelGo[float32], panelBF16: panelGo[uint16],
	finish: finishGo,
	peak:   peakGo, peakFlops: 16,
}

func portableTiles() [][]tileFunc {
	t := make([][]tileFunc, 5)
	for r := 1; r <= 4; r++ {
		t[r] = make([]tileFunc, 3)
		for v := 1; v <= 2; v++ {
			t[r][v] = func(c, a, b *float32, ldc, k, last int, alpha float32, m mode, _ *ahead, tiles, slot int) {
				for i := range tiles {
					tileGo(at(c, i*r*ldc), at(a, i*slot/4), b, ldc, k, r, 4*v, 4*(v-1)+last, alpha, m == accumulate)
				}
			}
		}
	}
	return t
}

// tileGo works on four rows at a time whatever mr is: rows past mr repeat the last one and are not stored.
func tileGo(c, a, b *float32, ldc, k, mr, width, cols int, alpha float32, add bool) {
	as := unsafe.Slice(a, mr*k)
	bs := unsafe.Slice(b, width*k)
	r1, r2, r3 := min(1, mr-1), min(2, mr-1), min(3, mr-1)
	for j := 0; j < cols; j += 4 {
		var s [4][4]float32
		for p := range k {
			bv := (*[4]float32)(bs[p*width+j:])
			av := as[p*mr : p*mr+mr]
			b0, b1, b2, b3 := bv[0], bv[1], bv[2], bv[3]
			a0, a1, a2, a3 := av[0], av[r1], av[r2], av[r3]
			s[0][0] += a0 * b0
			s[0][1] += a0 * b1
			s[0][2] += a0 * b2
			s[0][3] += a0 * b3
			s[1][0] += a1 * b0
			s[1][1] += a1 * b1
			s[1][2] += a1 * b2
			s[1][3] += a1 * b3
			s[2][0] += a2 * b0
			s[2][1] += a2 * b1
			s[2][2] += a2 * b2
			s[2][3] += a2 * b3
			s[3][0] += a3 * b0
			s[3][1] += a3 * b1
			s[3][2] += a3 * b2
			s[3][3] += a3 * b3
		}
		for i := range mr {
			row := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(c), 4*(i*ldc+j))), min(4, cols-j))
			for x := range row {
				v := alpha * s[i][x]
				if add {
					v += row[x]
				}
				row[x] = v
			}
		}
	}
}

func transposeGo[T float32 | uint16](dst *float32, src unsafe.Pointer, ld, n, k, stride int) {
	var zero T
	for p := range k {
		for i := range n {
			at := (*T)(unsafe.Add(src, (i*ld+p)*int(unsafe.Sizeof(zero))))
			*(*float32)(unsafe.Add(unsafe.Pointer(dst), 4*(p*stride+i))) = widen(*at)
		}
	}
}

func gatherGo[T float32 | uint16](dst *float32, src unsafe.Pointer, ld, n, k, stride, lanes int) {
	var zero T
	for p := range k {
		for i := range lanes {
			if i >= n && i >= stride {
				break // the next vector begins here
			}
			v := float32(0)
			if i < n {
				v = widen(*(*T)(unsafe.Add(src, (p*ld+i)*int(unsafe.Sizeof(zero)))))
			}
			*(*float32)(unsafe.Add(unsafe.Pointer(dst), 4*(p*stride+i))) = v
		}
	}
}

func panelGo[T float32 | uint16](dst *float32, src unsafe.Pointer, ld, k int) {
	gatherGo[T](dst, src, ld, 8, k, 8, 8)
}

// widen reads a stored element: f32 as it is, bf16 by its bit pattern.
func widen[T float32 | uint16](v T) float32 {
	if u, ok := any(v).(uint16); ok {
		return tensor.FromBF16(u)
	}
	return float32(v)
}

func finishGo(dst, x, bias, residual, gamma *float32, rowScale float32, n int, accumulate bool) {
	d, xs := unsafe.Slice(dst, n), unsafe.Slice(x, n)
	for i, v := range xs {
		if bias != nil {
			v += *at(bias, i)
		}
		if gamma != nil {
			v *= *at(gamma, i)
		}
		v *= rowScale
		if residual != nil {
			v += *at(residual, i)
		}
		if accumulate {
			v += d[i]
		}
		d[i] = v
	}
}
