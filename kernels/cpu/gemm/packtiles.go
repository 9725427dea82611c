package gemm

// packTiles packs row tiles first to first+tiles of A over K from-to, each into a slot of its own that holds skip of K
// already.
func (p *plan) packTiles(dst *float32, first, tiles, from, to, skip int) {
	if p.transA && p.kn.strips != nil && p.a.ld >= p.kn.lanes {
		p.packStrips(dst, first, tiles, from, to, skip)
		return
	}
	for t := range tiles {
		lo, hi := p.kn.rowTile(p.m, first+t)
		slot := at(dst, t*p.tileSlot()+skip*(hi-lo))
		if p.transA {
			p.kn.packRows(slot, p.a.at(from, lo), p.a.ld, hi-lo, to-from, hi-lo, p.a.bf16)
		} else {
			p.kn.packCols(slot, p.a.at(lo, from), p.a.ld, hi-lo, to-from, hi-lo, p.a.bf16)
		}
	}
}

// packStrips packs tiles that lie side by side in memory, all of them row by row: a line of memory that two of them
// share is met once, where one tile after the other would fetch it twice, the rows being many and far apart.
func (p *plan) packStrips(dst *float32, first, tiles, from, to, skip int) {
	strips, slot, depth := p.kn.strips, p.tileSlot(), to-from
	if p.a.bf16 {
		strips = p.kn.stripsBF16
	}
	quads := depth &^ 3
	if to == p.k {
		quads = (depth - 1) &^ 3 // strips reads past its last row's end
	}
	for t := 0; t < tiles; {
		lo, height, same := p.kn.run(p.m, first+t, first+tiles) // the first tiles may be one row higher
		strips(at(dst, t*slot+skip*height), p.a.at(from, lo), p.a.ld, height, quads, same, slot, p.rowsOnTheWay(same*height)*p.a.ld*elemSize(p.a.bf16))
		for i := 0; i < same && quads < depth; i++ {
			p.kn.packRows(at(dst, (t+i)*slot+(skip+quads)*height), p.a.at(from+quads, lo+i*height), p.a.ld, height, depth-quads, height, p.a.bf16)
		}
		t += same
	}
}

// rowsOnTheWay is how many rows of A ahead packing fetches: some 32 lines, as many as a core can wait for.
// Rows a power of two apart share the few places of one set of the L1 cache.
func (p *plan) rowsOnTheWay(cols int) int {
	size := elemSize(p.a.bf16)
	if p.a.ld*size%4096 == 0 {
		return 4
	}
	lines := (cols*size + 63) / 64
	return min(max(32/lines&^3, 4), 16)
}
