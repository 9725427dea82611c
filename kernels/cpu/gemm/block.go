package gemm

import (
	"fmt"
	"unsafe"
)

// The functions of this file multiply blocks in scratch memory on the calling goroutine: the caller packs each operand
// once and multiplies it any number of times. A block should fit the L2 cache; K is not split.
//
// The layout of a packed block depends on the micro-kernels in use and on m, n and k, so a block must be multiplied with
// the sizes that it was packed with. All rows of A are multiplied at once.

// spill is the number of floats that packing may write past the last element.
const spill = 16

// PackedA is the number of floats a packed A block [m,k] takes.
func PackedA(m, k int) int { return m*k + spill }

// PackedB is the number of floats a packed B block [k,n] takes.
func PackedB(k, n int) int { return roundUp(n, current().lanes)*k + spill }

// PackA packs an A block [m,k] from rows ld elements apart; with trans the memory holds [k,m].
func PackA(dst, src []float32, ld, m, k int, trans bool) {
	if m <= 0 || k <= 0 {
		return
	}
	check("PackA", len(dst), PackedA(m, k), len(src), ld, m, k, trans)
	packA(current(), &dst[0], unsafe.Pointer(&src[0]), ld, m, k, trans, false)
}

// PackABF16 is PackA from bf16 storage.
func PackABF16(dst []float32, src []uint16, ld, m, k int, trans bool) {
	if m <= 0 || k <= 0 {
		return
	}
	check("PackABF16", len(dst), PackedA(m, k), len(src), ld, m, k, trans)
	packA(current(), &dst[0], unsafe.Pointer(&src[0]), ld, m, k, trans, true)
}

// PackB packs a B block [k,n] from rows ld elements apart; with trans the memory holds [n,k].
func PackB(dst, src []float32, ld, k, n int, trans bool) {
	if n <= 0 || k <= 0 {
		return
	}
	check("PackB", len(dst), PackedB(k, n), len(src), ld, k, n, trans)
	packB(current(), &dst[0], unsafe.Pointer(&src[0]), ld, k, n, trans, false)
}

// PackBBF16 is PackB from bf16 storage.
func PackBBF16(dst []float32, src []uint16, ld, k, n int, trans bool) {
	if n <= 0 || k <= 0 {
		return
	}
	check("PackBBF16", len(dst), PackedB(k, n), len(src), ld, k, n, trans)
	packB(current(), &dst[0], unsafe.Pointer(&src[0]), ld, k, n, trans, true)
}

// Multiply is c = alpha·a·b, or c += alpha·a·b with accumulate, for packed a [m,k] and b [k,n]; the rows of
// c [m,n] are ldc elements apart. With k = 0 the product is zero.
func Multiply(c []float32, ldc int, a, b []float32, m, n, k int, alpha float32, accumulate bool) {
	if m <= 0 || n <= 0 {
		return
	}
	if len(c) < (m-1)*ldc+n || ldc < n {
		panic(fmt.Sprintf("gemm: Multiply: c has %d elements in rows of %d, want [%d %d]", len(c), ldc, m, n))
	}
	if k == 0 {
		if !accumulate {
			for i := range m {
				clear(c[i*ldc : i*ldc+n])
			}
		}
		return
	}
	if len(a) < m*k || len(b) < PackedB(k, n)-spill {
		panic(fmt.Sprintf("gemm: Multiply: a has %d and b %d packed elements, want [%d %d] and [%d %d]", len(a), len(b), m, k, k, n))
	}
	multiply(current(), &c[0], ldc, &a[0], &b[0], m, n, k, alpha, accumulate)
}

func check(what string, have, need, src, ld, rows, cols int, trans bool) {
	if trans {
		rows, cols = cols, rows
	}
	if have < need || ld < cols || src < (rows-1)*ld+cols {
		panic(fmt.Sprintf("gemm: %s: %d elements in rows of %d into %d, want [%d %d] into %d", what, src, ld, have, rows, cols, need))
	}
}

// rowTile returns the first row of tile i and the row after its last, where m rows are divided into the fewest tiles that
// the kernel allows, all of nearly the same height: a tile of a few rows cannot keep the multipliers busy.
func (kn *kernel) rowTile(m, i int) (lo, hi int) {
	lo, height, _ := kn.run(m, i, i+1)
	return lo, lo + height
}

// run returns the first row of tile i, its height, and the number of consecutive tiles of that height from i to end.
func (kn *kernel) run(m, i, end int) (lo, height, same int) {
	tiles := kn.rowTiles(m)
	base, more := m/tiles, m%tiles
	if i < more {
		return i * (base + 1), base + 1, min(end, more) - i
	}
	return i*base + more, base, end - i
}

func (kn *kernel) rowTiles(m int) int { return (m + kn.mr - 1) / kn.mr }

// roundUp returns the smallest multiple of step that is at least n.
func roundUp(n, step int) int { return (n + step - 1) / step * step }

// at returns the address of element i of the array at p.
func at(p *float32, i int) *float32 { return (*float32)(unsafe.Add(unsafe.Pointer(p), 4*i)) }

func packA(kn *kernel, dst *float32, src unsafe.Pointer, ld, m, k int, trans, bf16 bool) {
	size := elemSize(bf16)
	for i := range kn.rowTiles(m) {
		lo, hi := kn.rowTile(m, i)
		if trans {
			kn.packRows(at(dst, lo*k), unsafe.Add(src, lo*size), ld, hi-lo, k, hi-lo, bf16)
		} else {
			kn.packCols(at(dst, lo*k), unsafe.Add(src, lo*ld*size), ld, hi-lo, k, hi-lo, bf16)
		}
	}
}

func packB(kn *kernel, dst *float32, src unsafe.Pointer, ld, k, n int, trans, bf16 bool) {
	size, nr := elemSize(bf16), kn.nr()
	for j := 0; j < n; j += nr {
		cols := min(nr, n-j)
		width := roundUp(cols, kn.lanes)
		if cols == nr && !trans {
			if bf16 {
				kn.panelBF16(at(dst, j*k), unsafe.Add(src, j*size), ld, k)
			} else {
				kn.panel(at(dst, j*k), unsafe.Add(src, j*size), ld, k)
			}
			continue
		}
		for v := 0; v < cols; v += kn.lanes {
			to := at(dst, j*k+v)
			if trans {
				kn.packCols(to, unsafe.Add(src, (j+v)*ld*size), ld, min(kn.lanes, cols-v), k, width, bf16)
			} else {
				kn.packRows(to, unsafe.Add(src, (j+v)*size), ld, min(kn.lanes, cols-v), k, width, bf16)
			}
		}
	}
}

// packCols packs a tile whose memory is contiguous along K, packRows one whose memory is contiguous along the tile.
func (kn *kernel) packCols(dst *float32, src unsafe.Pointer, ld, n, k, stride int, bf16 bool) {
	if bf16 {
		kn.transposeBF16(dst, src, ld, n, k, stride)
	} else {
		kn.transpose(dst, src, ld, n, k, stride)
	}
}

func (kn *kernel) packRows(dst *float32, src unsafe.Pointer, ld, n, k, stride int, bf16 bool) {
	if bf16 {
		kn.gatherBF16(dst, src, ld, n, k, stride)
	} else {
		kn.gather(dst, src, ld, n, k, stride)
	}
}

func elemSize(bf16 bool) int {
	if bf16 {
		return 2
	}
	return 4
}

// multiply computes the product panel by panel: a panel of B stays in the L1 or L2 cache while all row tiles are
// multiplied by it.
func multiply(kn *kernel, c *float32, ldc int, a, b *float32, m, n, k int, alpha float32, add bool) {
	how := overwrite
	if add {
		how = accumulate
	}
	nr, tiles := kn.nr(), kn.rowTiles(m)
	for j := 0; j < n; j += nr {
		cols := min(nr, n-j)
		vecs := (cols + kn.lanes - 1) / kn.lanes
		last := cols - (vecs-1)*kn.lanes
		panel := at(b, j*k)
		for i := 0; i < tiles; {
			lo, height, same := kn.run(m, i, tiles)
			kn.tile[height][vecs](at(c, lo*ldc+j), at(a, lo*k), panel, ldc, k, last, alpha, how, idle, same, 4*height*k)
			i += same
		}
	}
}
