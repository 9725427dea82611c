package gemm

// next is a block of row tiles of A that a worker packs piece by piece while it multiplies the block before it. While the
// tiles of one panel of B are computed, they prefetch a piece into the L2 cache; then the piece is packed. So packing does
// not stall on rows that are far apart in memory. A piece is small because such rows map to few sets of the cache.
type next struct {
	dst         *float32
	tile, tiles int // none if tiles is 0
	length      int // depth of a piece where A is transposed; otherwise a piece is one tile of a K block
	done, each  int // pieces that are packed, and pieces to pack during each panel of B
}

// leastPiece is the minimum number of elements of a piece, so that its function calls pay.
const leastPiece = 3500

// begin sets w.a to the packed block whose first tile is first, packing what the worker has not packed ahead, and lays out
// the block after it, unless another worker will compute that one.
func (p *plan) begin(w *work, worker, task, first, tiles int) {
	n := &p.kept[worker].next
	if n.tile != first || n.tiles == 0 {
		*n = p.following(w.a, first)
	}
	p.packPieces(n, p.pieces(n))
	other := at(w.a, p.sizeA())
	if n.dst == other {
		other = w.a
	}
	w.a, w.packed, w.next = n.dst, true, n
	if from, to := p.pool.Share(p.rowBlocks(), worker); from <= task && task+1 < to {
		*n = p.following(other, first+tiles)
	} else {
		*n = next{}
	}
}

// following returns the block whose first tile is first, to be packed at dst.
func (p *plan) following(dst *float32, first int) next {
	n := next{dst: dst, tile: first, tiles: min(p.blockTiles, p.kn.rowTiles(p.m)-first)}
	panels := max(1, p.kBlocks()*p.panels())
	n.length = p.kBlock
	if p.transA {
		n.length = roundUp(max((p.k1-p.k0+panels-1)/panels, leastPiece/(n.tiles*p.kn.mr), 1), 4)
	}
	n.each = (p.pieces(&n) + panels - 1) / panels
	return n
}

// pieces returns the number of pieces of a block.
func (p *plan) pieces(n *next) int {
	switch {
	case n.tiles == 0:
		return 0
	case p.transA:
		return p.kBlocks() * p.lengths(n)
	}
	return p.kBlocks() * n.tiles
}

// lengths returns the number of pieces of a K block where A is transposed.
func (p *plan) lengths(n *next) int { return (p.kBlock + n.length - 1) / n.length }

// piece returns the next piece: its K block, its tiles within the block, and its range of K.
func (p *plan) piece(n *next) (block, tile, tiles, from, to int) {
	if !p.transA {
		from, to = p.kRange(n.done / n.tiles)
		return n.done / n.tiles, n.done % n.tiles, 1, from, to
	}
	lengths := p.lengths(n)
	from, to = p.kRange(n.done / lengths)
	from += n.done % lengths * n.length
	return n.done / lengths, 0, n.tiles, from, min(from+n.length, to)
}

// packPieces packs the next count pieces, or fewer if fewer are left.
func (p *plan) packPieces(n *next, count int) {
	for upTo := min(n.done+count, p.pieces(n)); n.done < upTo; n.done++ {
		block, tile, tiles, from, to := p.piece(n)
		start, _ := p.kRange(block)
		if from < to {
			p.packTiles(at(n.dst, (block*n.tiles+tile)*p.tileSlot()), n.tile+tile, tiles, from, to, from-start)
		}
	}
}

// pieceAhead returns the prefetch of the piece that is packed next, or stay if there is none.
func (p *plan) pieceAhead(n *next, depth int) ahead {
	if n == nil || n.done == p.pieces(n) {
		return stay
	}
	_, tile, tiles, from, to := p.piece(n)
	row, _ := p.kn.rowTile(p.m, n.tile+tile)
	_, end := p.kn.rowTile(p.m, n.tile+tile+tiles-1)
	if p.transA {
		return p.rowsAhead(&p.a, from, row, to-from, end-row, depth)
	}
	return p.rowsAhead(&p.a, row, from, end-row, to-from, depth)
}
