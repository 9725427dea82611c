package gemm

import "unsafe"

// packPhase packs the shared operands. Its tasks are the panels of B, K block by K block, then the row tiles of
// A, four at a time.
type packPhase plan

const packTiles = 4

func (p *plan) packTasks() int {
	n := 0
	if p.packsB == allPack {
		n += p.kBlocks() * p.panels()
	}
	if p.packsA == allPack {
		n += p.kBlocks() * p.tileGroups()
	}
	return n
}

func (p *plan) panels() int     { return (p.j1 - p.j0 + p.kn.nr() - 1) / p.kn.nr() }
func (p *plan) tileGroups() int { return (p.kn.rowTiles(p.m) + packTiles - 1) / packTiles }

func (x *packPhase) Do(task, _ int) {
	p := (*plan)(x)
	if p.packsB == allPack {
		panels := p.panels()
		if task < p.kBlocks()*panels {
			from, to := p.kRange(task / panels)
			j := p.j0 + task%panels*p.kn.nr()
			p.packB(p.panel(p.bufB, from, to, j), from, to, j, min(j+p.kn.nr(), p.j1))
			return
		}
		task -= p.kBlocks() * panels
	}
	block, first := task/p.tileGroups(), task%p.tileGroups()*packTiles
	from, to := p.kRange(block)
	tiles := p.kn.rowTiles(p.m)
	p.packTiles(at(p.bufA, (block*tiles+first)*p.tileSlot()), first, min(packTiles, tiles-first), from, to, 0)
}

// kRange is K block i of the stretch at work.
func (p *plan) kRange(i int) (from, to int) {
	from = p.k0 + i*p.kBlock
	return from, min(from+p.kBlock, p.k1)
}

// panel is where columns from j on lie in the packed stretch at b.
func (p *plan) panel(b *float32, from, to, j int) *float32 {
	width := roundUp(p.j1-p.j0, p.kn.lanes)
	return at(b, (from-p.k0)*width+(j-p.j0)*(to-from))
}

func (p *plan) packB(dst *float32, from, to, j, end int) {
	row, col := from, j
	if p.transB {
		row, col = j, from
	}
	packB(p.kn, dst, p.b.at(row, col), p.b.ld, to-from, end-j, p.transB, p.b.bf16)
}

// tilePhase multiplies: a task is a block of row tiles and columns.
type tilePhase plan

func (x *tilePhase) Do(task, worker int) {
	p := (*plan)(x)
	blocks := p.colBlocks()
	first, j := task/blocks*p.blockTiles, p.j0+task%blocks*p.blockCols
	tiles := min(p.blockTiles, p.kn.rowTiles(p.m)-first)
	w := p.work(worker)
	p.keep(&w, worker)
	if p.packsNext() {
		p.begin(&w, worker, task, first, tiles)
	}
	row, _ := p.kn.rowTile(p.m, first)
	_, rowEnd := p.kn.rowTile(p.m, first+tiles-1)
	for end := min(j+p.blockCols, p.j1); j < end; j += p.innerCols {
		stop := min(j+p.innerCols, end)
		switch {
		case p.direct:
			p.multiply(&w, first, tiles, j, stop, p.out.at(row, j), p.out.ld, p.accumulate)
		case p.k1 < p.k:
			p.multiply(&w, first, tiles, j, stop, p.partial.at(row, j), p.partial.ld, false)
		default:
			if p.k0 > 0 {
				for i := row; i < rowEnd; i++ {
					copy(unsafe.Slice(at(w.block, (i-row)*p.innerCols), stop-j), unsafe.Slice((*float32)(p.partial.at(i, j)), stop-j))
				}
			}
			p.multiply(&w, first, tiles, j, stop, unsafe.Pointer(w.block), p.innerCols, false)
			p.finish(p.kn, &w, row, rowEnd, j, stop, p.innerCols)
		}
		w.packed = true
	}
}

// keep tells whether the worker has to pack yet what it packs for all of its tasks.
func (p *plan) keep(w *work, worker int) {
	done := p.kept[worker].packed
	p.kept[worker].packed = true
	w.packed = p.packsA == workerPacks && done
	w.packsB = p.packsB == taskPacks || p.packsB == workerPacks && !done
}

// work is one task's scratch memory.
type work struct {
	a, b   *float32 // packed rows of its own, packed columns of its own or of all
	packed bool     // a is packed already
	packsB bool     // b has to be packed on the way
	block  *float32 // sums before their epilogue, [rows, innerCols]
	rows   rowBuffers
	next   *next // packed meanwhile; nil where A is not packed block by block
	ahead  *ahead
	piece  *ahead // of next
}

// aheadSize is the room of an ahead, in floats: a cache line.
const aheadSize = 16

// work lays out a worker's scratch memory for a block of row tiles, in the same way for all blocks of a stretch.
func (p *plan) work(worker int) work {
	var sizeA, sizeB, sizeBlock int
	if p.packsA != allPack {
		sizeA = p.sizeA()
	}
	if p.packsNext() {
		sizeA *= 2
	}
	switch p.packsB {
	case taskPacks:
		sizeB = p.innerCols*p.kBlock + spill
	case workerPacks:
		sizeB = p.rangeB()
	}
	if !p.direct {
		sizeBlock = p.blockTiles * p.kn.mr * p.innerCols
	}
	sizeB, sizeBlock = roundUp(sizeB, 16), roundUp(sizeBlock, 16)
	s := p.pool.ScratchF32(worker, 2*aheadSize+sizeA+sizeB+sizeBlock+rowBufferSize(p.innerCols))
	cursors := unsafe.SliceData(s)
	base := at(cursors, 2*aheadSize)
	b := at(base, sizeA)
	if p.packsB == allPack {
		b = p.bufB
	}
	return work{
		a: base, b: b, block: at(base, sizeA+sizeB), rows: newRowBuffers(at(base, sizeA+sizeB+sizeBlock), p.innerCols),
		ahead: (*ahead)(unsafe.Pointer(cursors)), piece: (*ahead)(unsafe.Pointer(at(cursors, aheadSize))),
	}
}

// multiply sums columns j to end of a block of row tiles over the stretch of K at work, into the matrix at c, whose
// first element is the block's first row in column j. The sums begin anew at the first of K unless add is set.
func (p *plan) multiply(w *work, first, tiles, j, end int, c unsafe.Pointer, ldc int, add bool) {
	kn := p.kn
	row, _ := kn.rowTile(p.m, first)
	if p.k1 == p.k0 && !add {
		_, hi := kn.rowTile(p.m, first+tiles-1)
		for i := range hi - row {
			clear(unsafe.Slice((*float32)(unsafe.Add(c, 4*i*ldc)), end-j))
		}
	}
	slot, nr := p.tileSlot(), kn.nr()
	for block := range p.kBlocks() {
		from, to := p.kRange(block)
		depth := to - from
		packed := at(w.a, block*tiles*slot)
		if p.packsA == allPack {
			packed = at(p.bufA, (block*kn.rowTiles(p.m)+first)*slot)
		} else if !w.packed {
			p.packTiles(packed, first, tiles, from, to, 0)
		}
		if w.packsB {
			dst := w.b
			if p.packsB == workerPacks {
				dst = p.panel(w.b, from, to, j)
			}
			p.packB(dst, from, to, j, end)
		}
		how := overwrite
		if add || from > p.kFirst() {
			how = accumulate
		} else if p.streams {
			how = stream
		}
		*w.ahead = stay
		if w.packsB {
			*w.ahead = p.columnsAhead(from, to, j, end)
		}
		for col := j; col < end; col += nr {
			cols := min(nr, end-col)
			vecs := (cols + kn.lanes - 1) / kn.lanes
			panel := at(w.b, (col-j)*depth)
			if p.packsB != taskPacks {
				panel = p.panel(w.b, from, to, col)
				if !w.packsB && col+nr < p.j1 {
					*w.ahead = p.panelAhead(p.panel(w.b, from, to, col+nr), depth)
				}
			}
			*w.piece = p.pieceAhead(w.next, depth)
			for t := first; t < first+tiles; {
				lo, height, same := kn.run(p.m, t, first+tiles)
				cursor := w.ahead
				if w.piece.left > 0 {
					cursor, same = w.piece, min(same, w.piece.left)
				}
				kn.tile[height][vecs]((*float32)(unsafe.Add(c, 4*((lo-row)*ldc+col-j))), at(packed, (t-first)*slot), panel,
					ldc, depth, cols-(vecs-1)*kn.lanes, p.alpha, how, cursor, same, 4*slot)
				t += same
			}
			if w.next != nil {
				p.packPieces(w.next, w.next.each)
			}
		}
	}
}

// kFirst is where the sums at work begin: at 0, or at the beginning of a chunk.
func (p *plan) kFirst() int {
	if p.chunks > 0 {
		return p.k0
	}
	return 0
}

// chunkPhase multiplies one stretch of K, for all rows and columns, into its own matrix of sums.
type chunkPhase plan

func (x *chunkPhase) Do(task, worker int) {
	c := *(*plan)(x)
	c.k0 = task * c.chunkLen
	c.k1 = min(c.k0+c.chunkLen, c.k)
	w := c.work(worker)
	w.packsB = true
	for j := 0; j < c.n; j += c.innerCols {
		c.multiply(&w, 0, c.blockTiles, j, min(j+c.innerCols, c.n), c.partial.at(task*c.m, j), c.n, false)
		w.packed = true
	}
}

// foldPhase adds the chunks up, in order, and applies the epilogue.
type foldPhase plan

func (x *foldPhase) Do(task, worker int) {
	p := (*plan)(x)
	s := p.pool.ScratchF32(worker, foldRows*p.innerCols+rowBufferSize(p.innerCols))
	base := unsafe.SliceData(s)
	w := work{block: base, rows: newRowBuffers(at(base, foldRows*p.innerCols), p.innerCols)}
	row := task * foldRows
	end := min(row+foldRows, p.m)
	for j := 0; j < p.n; j += p.innerCols {
		stop := min(j+p.innerCols, p.n)
		for i := row; i < end; i++ {
			sum := at(w.block, (i-row)*p.innerCols)
			for c := range p.chunks {
				p.kn.finish(sum, (*float32)(p.partial.at(c*p.m+i, j)), nil, nil, nil, 1, stop-j, c > 0)
			}
		}
		p.finish(p.kn, &w, row, end, j, stop, p.innerCols)
	}
}
