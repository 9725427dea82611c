package gemm

// next is a block of row tiles of A that a worker packs piece by piece while it multiplies the block before: the tiles
// along a panel of B fetch a piece into the L2 cache, and then it is packed. So nothing waits for rows that lie far
// apart in memory. A piece is small: a whole block of such rows would not find room in the few sets of the cache that
// they fall on.
type next struct {
	dst         *float32
	tile, tiles int // none if tiles is 0
	length      int // of a piece along K: the rows of A lie along the tiles, or else a piece is one tile of a K block
	done, each  int // pieces packed already, and for each panel of B
}

// leastPiece is how many elements a piece has at least, to be worth its calls.
const leastPiece = 3500

// begin makes a the packed block of tiles at first, which the worker has prepared if it went on where it was, and lays
// out the one after it, unless that is another worker's.
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

// following lays out the block at tile first, to be packed at dst.
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

// pieces is how many pieces a block has.
func (p *plan) pieces(n *next) int {
	switch {
	case n.tiles == 0:
		return 0
	case p.transA:
		return p.kBlocks() * p.lengths(n)
	}
	return p.kBlocks() * n.tiles
}

// lengths is how many pieces a K block has where they are cut along K.
func (p *plan) lengths(n *next) int { return (p.kBlock + n.length - 1) / n.length }

// piece is the next piece: tiles of the block, and its stretch of a K block.
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

// packPieces packs as many pieces, or those that are left.
func (p *plan) packPieces(n *next, count int) {
	for upTo := min(n.done+count, p.pieces(n)); n.done < upTo; n.done++ {
		block, tile, tiles, from, to := p.piece(n)
		start, _ := p.kRange(block)
		if from < to {
			p.packTiles(at(n.dst, (block*n.tiles+tile)*p.tileSlot()), n.tile+tile, tiles, from, to, from-start)
		}
	}
}

// pieceAhead aims at the piece that is packed next, if there is one.
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
