//go:build !noasm

package augment

import "github.com/klauspost/cpuid/v2"

// useAVX2 chooses the assembly. Its results are those of the portable code, bit for bit; it computes whole vectors and
// so writes the padding of a row too.
var useAVX2 = cpuid.CPU.Supports(cpuid.AVX2)

func weighRow8(dst, src []uint8, stride, n int, w []int32) {
	// Whole vectors reach past a box that ends in the last rows of its plane, by up to the width of a vector.
	if !useAVX2 || len(w) == 0 || n == 0 || len(dst) < padded(n) || len(src) < (len(w)-1)*stride+padded(n) {
		weighRowPortable8(dst, src, stride, n, w)
		return
	}
	weighRowAVX2(&dst[0], &src[0], stride, n, &w[0], len(w))
}

func transpose8(dst []uint8, dstStride int, src []uint8, srcStride, rows, cols int) {
	y, x := 0, 0
	if useAVX2 && cols >= 16 {
		x = cols &^ 15
		for ; y+8 <= rows; y += 8 {
			_, _ = dst[(x-1)*dstStride+y+7], src[(y+7)*srcStride+x-1]
			transposeAVX2(&dst[y], dstStride, &src[y*srcStride], srcStride, x/16)
		}
	}
	if x < cols && y > 0 {
		transposePortable8(dst[x*dstStride:], dstStride, src[x:], srcStride, y, cols-x)
	}
	if y < rows {
		transposePortable8(dst[y:], dstStride, src[y*srcStride:], srcStride, rows-y, cols)
	}
}

func box8(dst []uint8, stride int, src []uint8, at []int32, rows, n, r int, inner, outer uint32) {
	if !useAVX2 || rows == 0 || n == 0 {
		boxPortable8(dst, stride, src, at, rows, n, r, inner, outer)
		return
	}
	_, _ = dst[(rows-1)*stride+padded(n)-1], src[int(at[rows+2*r+1])+padded(n)-1]
	boxAVX2(&dst[0], stride, &src[0], &at[0], rows, n, r, inner, outer)
}

// weighRowAVX2 is weighRowPortable8 for 32 lanes at a time.
//
//go:noescape
func weighRowAVX2(dst, src *uint8, stride, n int, w *int32, taps int)

// transposeAVX2 is transposePortable8 for 8 rows and 16 columns a block.
//
//go:noescape
func transposeAVX2(dst *uint8, dstStride int, src *uint8, srcStride, blocks int)

// boxAVX2 is boxPortable8 for 16 lanes at a time.
//
//go:noescape
func boxAVX2(dst *uint8, stride int, src *uint8, at *int32, rows, n, r int, inner, outer uint32)
