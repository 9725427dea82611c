//go:build !amd64 || noasm

package augment

func weighRow8(dst, src []uint8, stride, n int, w []int32) { weighRowPortable8(dst, src, stride, n, w) }

func transpose8(dst []uint8, dstStride int, src []uint8, srcStride, rows, cols int) {
	transposePortable8(dst, dstStride, src, srcStride, rows, cols)
}

func box8(dst []uint8, stride int, src []uint8, at []int32, rows, n, r int, inner, outer uint32) {
	boxPortable8(dst, stride, src, at, rows, n, r, inner, outer)
}
