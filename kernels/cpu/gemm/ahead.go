package gemm

import "unsafe"

// ahead is memory that the tiles of a stretch of work fetch into the L2 cache for what comes after it, on the way:
// rows of chunk·128 bytes, jump bytes apart. Each tile takes a share and moves at on by step. The processor foresees the
// panels that it reads in order; it cannot foresee rows of a wide matrix, nor a panel before the last one ends. Addresses
// are numbers here: nothing is read through them. The assembly knows the layout.
type ahead struct {
	at          uintptr
	chunk, jump int
	step        uintptr // from tile to tile
	left        int     // tiles that still have a share
}

// stay is nothing to fetch.
var stay ahead

// idle is the cursor of tiles that fetch nothing: they leave it as it is.
var idle = new(ahead)

// fetched is what a tile can fetch on its way through a depth of K, in bytes.
func (kn *kernel) fetched(depth int) int { return depth / kn.unroll * 256 }

// rowsAhead aims at rows of a matrix as they lie in memory, for tiles of the given depth.
func (p *plan) rowsAhead(m *matrix, row, col, rows, cols, depth int) ahead {
	size := elemSize(m.bf16)
	if rows <= 0 || cols <= 0 || depth < 16 {
		return stay
	}
	start := uintptr(m.base) + uintptr((row*m.ld+col)*size)
	off := start % 64
	cols += p.kn.lanes - p.kn.mr // packing tiles side by side reads so far past the last
	chunk := (int(off) + cols*size + 127) / 128
	each := max(1, p.kn.fetched(depth)/(128*chunk))
	return ahead{
		at: start - off, chunk: chunk, jump: m.ld*size - 128*chunk,
		step: uintptr(each * m.ld * size), left: (rows + each - 1) / each,
	}
}

// panelAhead aims at a packed panel of B.
func (p *plan) panelAhead(panel *float32, depth int) ahead {
	if depth < 16 {
		return stay
	}
	bytes, each := 4*p.kn.nr()*depth, p.kn.fetched(depth)
	return ahead{
		at: uintptr(unsafe.Pointer(panel)), chunk: 1 << 40,
		step: uintptr(each), left: (bytes + each - 1) / each,
	}
}

// columnsAhead aims at the columns of B that this worker will pack after K block from-to of columns j to end,
// supposing that it goes on where it is.
func (p *plan) columnsAhead(from, to, j, end int) ahead {
	depth := to - from
	switch {
	case to < p.k1:
		from, to = to, min(to+p.kBlock, p.k1)
	case end < p.j1:
		from, to = p.k0, min(p.k0+p.kBlock, p.k1)
		j, end = end, min(end+p.innerCols, p.j1)
	case p.chunks > 0 && p.k1 < p.k:
		from, to = p.k1, min(p.k1+p.kBlock, p.k)
		j, end = p.j0, min(p.j0+p.innerCols, p.j1)
	default:
		return stay
	}
	if p.transB {
		return p.rowsAhead(&p.b, j, from, end-j, to-from, depth)
	}
	return p.rowsAhead(&p.b, from, j, to-from, end-j, depth)
}
