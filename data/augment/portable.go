package augment

// The kernels over whole rows. Those with Portable in their name define the result of an assembly form, which gives the same
// bits.

// weighRowPortable8 computes lane x of a row, for x < n: the sum over k of w[k] times src[k*stride+x], rounded from
// fixed point and clipped.
func weighRowPortable8(dst, src []uint8, stride, n int, w []int32) {
	dst = dst[:n]
	for x := range dst {
		s := int32(1 << (precision - 1))
		at := x
		for _, c := range w {
			s += c * int32(src[at])
			at += stride
		}
		dst[x] = clip8(s >> precision)
	}
}

func clip8(v int32) uint8 {
	if uint32(v) > 255 {
		if v < 0 {
			return 0
		}
		return 255
	}
	return uint8(v)
}

// transposePortable8 writes the rows x cols matrix src to dst as cols x rows.
func transposePortable8(dst []uint8, dstStride int, src []uint8, srcStride, rows, cols int) {
	const block = 16
	for y0 := 0; y0 < rows; y0 += block {
		y1 := min(y0+block, rows)
		for x := range cols {
			out := dst[x*dstStride+y0 : x*dstStride+y1]
			at := y0*srcStride + x
			for y := range out {
				out[y] = src[at]
				at += srcStride
			}
		}
	}
}

// boxPortable8 is one pass of the extended box filter down the columns: lane x of row y is
// (inner*(sum of the 2r+1 rows around y) + outer*(the two rows beyond)) with 24 fraction bits, rounded. at[i] is the
// offset of row i-r-1, with rows outside the plane replaced by the nearest inside.
func boxPortable8(dst []uint8, stride int, src []uint8, at []int32, rows, n, r int, inner, outer uint32) {
	for x := range n {
		acc := uint32(0)
		for i := range 2*r + 1 {
			acc += uint32(src[int(at[i])+x])
		}
		for y := range rows {
			before, last, after := uint32(src[int(at[y])+x]), uint32(src[int(at[y+2*r+1])+x]), uint32(src[int(at[y+2*r+2])+x])
			acc += last - before
			dst[y*stride+x] = uint8((acc*inner + (before+after)*outer + 1<<23) >> 24)
		}
	}
}

// grey8 writes the luma of ITU-R BT.601 in 16-bit fixed point to all three channels.
func grey8(r, g, b []uint8) {
	g, b = g[:len(r)], b[:len(r)]
	for i := range r {
		l := luma(r[i], g[i], b[i])
		r[i], g[i], b[i] = l, l, l
	}
}

func luma(r, g, b uint8) uint8 {
	return uint8((uint32(r)*19595 + uint32(g)*38470 + uint32(b)*7471 + 0x8000) >> 16)
}

// lumaSum8 is the sum of the luma.
func lumaSum8(r, g, b []uint8) uint64 {
	g, b = g[:len(r)], b[:len(r)]
	sum := uint64(0)
	for i := range r {
		sum += uint64(luma(r[i], g[i], b[i]))
	}
	return sum
}

// saturate8 moves every channel from the luma by the factor alpha.
func saturate8(r, g, b []uint8, alpha float32) {
	g, b = g[:len(r)], b[:len(r)]
	for i := range r {
		l := luma(r[i], g[i], b[i])
		r[i], g[i], b[i] = blend(l, r[i], alpha), blend(l, g[i], alpha), blend(l, b[i], alpha)
	}
}

// blend is from + alpha (to - from) in float32, cut to a whole level and clipped.
func blend(from, to uint8, alpha float32) uint8 {
	v := float32(from) + float32(alpha*float32(int32(to)-int32(from)))
	if v <= 0 {
		return 0
	}
	if v >= 255 {
		return 255
	}
	return uint8(v)
}
