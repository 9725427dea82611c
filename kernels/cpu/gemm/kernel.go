package gemm

import (
	"unsafe"

	"github.com/dino-mx/dmx/kernels/cpu/vec"
)

// kernel is one micro-kernel family with its packing routines. A tile of the product has up to mr rows and up to
// vecs·lanes columns.
type kernel struct {
	mr    int // rows of the largest tile
	lanes int // f32 elements of a vector register
	vecs  int // vectors of columns of the largest tile

	// tile[r][v] multiplies tiles packed tiles of r rows, slot bytes apart, by a packed panel of v vectors, each into
	// the r rows of c below the one before, as mode says. Of the last vector only the first last lanes are read and
	// written in c. ldc counts elements. Meanwhile every tile fetches its share of what lies ahead into the L2 cache,
	// 256 bytes every unroll steps of k.
	tile   [][]tileFunc
	unroll int

	// transpose reads up to lanes rows of k contiguous elements and writes, for each k, one vector holding the
	// element of each row; vectors are stride elements apart. Lanes past the last row are undefined: the writes
	// go in ascending k, so that with stride < lanes a vector's spare lanes are overwritten by the next vector,
	// and only the last one spills. ld and stride count elements.
	transpose packFunc
	// gather reads rows of n <= lanes contiguous elements, ld apart, and writes each as one vector, with zeros
	// past n, under the same rules.
	gather packFunc
	// panel gathers rows of vecs whole vectors, without gaps.
	panel, panelBF16 func(dst *float32, src unsafe.Pointer, ld, k int)
	// strips gathers tiles that lie side by side: of each of k rows tile i takes n elements, from i·n on, and is
	// written at i·slot, its rows n elements apart. k is a multiple of four; whole vectors are read, so that past the
	// last tile of the last row lanes-n elements must be readable, and as many are spilled. It fetches rows that lie
	// far bytes ahead. Nil where a family has no such routine.
	strips, stripsBF16 stripsFunc
	// transposeBF16 and gatherBF16 do the same from bf16 storage.
	transposeBF16, gatherBF16 packFunc

	// finish is dst = [dst +] [residual +] rowScale·[gamma·](x + [bias]) on n elements; the vectors may be nil.
	finish func(dst, x, bias, residual, gamma *float32, rowScale float32, n int, accumulate bool)

	// peak runs n rounds of multiply-adds on registers, peakFlops operations each.
	peak      func(n int)
	peakFlops int
}

type tileFunc func(c, a, b *float32, ldc, k, last int, alpha float32, mode mode, ahead *ahead, tiles, slot int)

// mode says what a tile does with the product.
type mode uint32

const (
	overwrite  mode = iota // c = alpha·a·b
	accumulate             // c += alpha·a·b
	stream                 // overwrite, past the caches; whole vectors of c must be aligned
)

type packFunc func(dst *float32, src unsafe.Pointer, ld, n, k, stride int)

type stripsFunc func(dst *float32, src unsafe.Pointer, ld, n, k, tiles, slot, far int)

func (kn *kernel) nr() int { return kn.lanes * kn.vecs }

// current is the family in use: the one for vec's instruction set.
func current() *kernel { return families[vec.Active()] }
