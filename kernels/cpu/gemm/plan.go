package gemm

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"

	"github.com/dino-mx/dmx/kernels/cpu/pool"
)

// How K is blocked decides which partial sums are formed, so these sizes are constants: results do not depend on the
// machine's caches. Only the order in which finished tiles are visited depends on the caches.
const (
	// maxKBlock is the largest K block: the number of multiply-adds that are chained in one register. A panel of B of
	// this depth is 48 KiB (AVX2) or 96 KiB (AVX-512) and streams from the L2 cache.
	maxKBlock = 768
	// Where A has few rows, a smaller K block lets all of A stay in the L2 cache: residentA is the number of elements
	// that may stay, minKBlock the smallest block.
	minKBlock = 384
	residentA = 160 << 10
	// K is split into chunks that are computed as separate products and summed (split-K) where m, the output width and
	// their product are at most chunkRows, chunkCols and chunkProduct and k is at least chunkDepth: such products have too
	// few tiles for all threads, and each tile is deep.
	chunkRows    = 512
	chunkCols    = 2048
	chunkProduct = 1 << 15
	chunkDepth   = 1024
	// foldRows is the number of rows of one task that sums chunks.
	foldRows = 4
	// leastRows is the minimum number of rows of a task, so that fetching a panel of B pays; blockRows is the number of
	// rows whose packed A should fit half the L2 cache.
	leastRows = 42
	blockRows = 84
	// ownColumns is the minimum number of columns a worker for which every worker packs a copy of A of its own; ownRows is
	// the minimum number of rows for copies of B.
	ownColumns, ownRows = 128, 512
	// wantTasks is the number of tasks of a phase, where the shape allows it, so that threads finish together.
	wantTasks = 48
)

// Sizes of the caches of one core in bytes; conservative values where cpuid does not report them.
var l2, l3 = cacheSizes()

func cacheSizes() (l2, l3 int) {
	l2, l3 = cpuid.CPU.Cache.L2, cpuid.CPU.Cache.L3
	if l2 <= 0 {
		l2 = 512 << 10
	}
	if l3 <= 0 {
		l3 = 8 << 20
	}
	return min(max(l2, 256<<10), 4<<20), min(max(l3, 4<<20), 64<<20)
}

// plan is one multiplication: its operands, its tiling, and the range of columns and of K that is being computed.
type plan struct {
	pool           *pool.Pool
	kn             *kernel
	m, n, k        int
	a, b           matrix
	transA, transB bool
	alpha          float32
	direct         bool // tiles are stored to the output without an intermediate buffer
	streams        bool // stores bypass the caches (non-temporal)
	epilogue

	kBlock, kGroup   int // depth of one chain of multiply-adds, and of one packing
	chunks, chunkLen int // split-K: number of chunks (0 for none) and their depth
	colGroup         int // columns of one pass over the rows
	packsA, packsB   packs
	kept             []kept
	blockTiles       int // row tiles of one task
	blockCols        int // columns of one task
	innerCols        int // columns of a task that are computed together, while they are in the L2 cache

	j0, j1, k0, k1 int // the range of columns and of K that is being computed
	bufA, bufB     *float32
	partial        matrix // sums over the K groups before this one
}

// packs says which workers pack an operand, and which of them share the packed copy.
type packs int

const (
	taskPacks   packs = iota // each task packs the part that it needs
	workerPacks              // each worker packs a copy of the whole range for its own tasks
	allPack                  // all workers pack one shared copy before the tiles are computed
)

// kept is the content of a worker's scratch memory that outlives a task: the operand that it packs once for a range, and
// the block of A that it packs ahead of its use.
type kept struct {
	packed bool
	next   next
	_      [72]byte // processors fetch lines in pairs
}

// packsNext reports whether tasks are blocks of rows, and a worker packs the next block while it multiplies the current.
func (p *plan) packsNext() bool { return p.packsA == taskPacks && p.packsB != taskPacks }

// sizeA is the size of a packed block of row tiles in floats.
func (p *plan) sizeA() int { return roundUp(p.kBlocks()*p.blockTiles*p.tileSlot(), 16) }

// choose decides the tiling. The K block depends on the width of the output, not on n: a product that computes a range of
// the output's columns then has the same bits as one that computes all of them.
func (p *plan) choose() {
	kn, width := p.kn, p.out.ld
	p.kBlock = evenBlock(p.k, maxKBlock, 16)
	if width >= p.m {
		p.kBlock = evenBlock(p.k, min(max(residentA/p.m, minKBlock), maxKBlock), 16)
	}
	p.colGroup, p.kGroup = p.n, max(p.k, 1)
	tiles := kn.rowTiles(p.m)
	panel := kn.nr()
	if p.m <= chunkRows && width <= chunkCols && p.m*width <= chunkProduct && p.k >= chunkDepth {
		p.chunkLen = evenBlock(p.k, max(256, min(2*maxKBlock, roundUp(p.k/32, 16))), 16)
		p.chunks = (p.k + p.chunkLen - 1) / p.chunkLen
		p.kBlock = evenBlock(p.chunkLen, 256, 16)
		p.blockTiles, p.blockCols, p.innerCols = tiles, p.n, min(128, roundUp(p.n, panel))
		return
	}
	p.innerCols = 128
	if fit := l2 * 5 / 8 / (4 * p.m); p.n >= p.m && fit >= p.kBlock {
		// Few rows: A stays in the L2 cache of every core, and each task packs its columns of B. Where every worker has
		// enough columns, each packs a copy of A: that takes less time than reading one from another core's cache.
		p.packsA = allPack
		if p.n >= ownColumns*p.pool.Threads() {
			p.packsA = workerPacks
		}
		p.kGroup = p.kBlock * (fit / p.kBlock)
		p.blockTiles = tiles
		for p.innerCols > panel && (p.n/p.innerCols < wantTasks || 4*p.innerCols*p.kBlock > l2/5) {
			p.innerCols /= 2
		}
		p.blockCols = p.innerCols * min(max(1, p.n/p.innerCols/wantTasks), 8)
		return
	}
	// Many rows: one packed copy of B serves all tasks, and each task packs its rows of A and keeps them in the L2 cache.
	p.packsB = allPack
	p.kGroup = p.kBlock * max(1, l2/2/(4*blockRows)/p.kBlock)
	depth := min(p.k, p.kGroup)
	p.colGroup = max(512, l3/4/(4*depth)/panel*panel)
	fit := max(1, l2/2/(4*kn.mr*depth))
	p.blockTiles = min(fit, max(leastRows/kn.mr, tiles/wantTasks))
	p.blockCols = p.colGroup
	if blocks := (tiles + p.blockTiles - 1) / p.blockTiles; blocks < wantTasks/2 {
		// Too few blocks: split the columns as well, and share one packed copy of A.
		p.packsA = allPack
		for p.innerCols > panel && blocks*(p.n/p.innerCols) < wantTasks {
			p.innerCols /= 2
		}
		p.blockCols = p.innerCols
	} else if threads := p.pool.Threads(); p.m >= ownRows*threads && min(p.n, p.colGroup)*depth*threads <= l3/4/4 {
		p.packsB = workerPacks // as for A above, if the L3 cache has room for the copies
	}
}

// streamable reports whether stores may bypass the caches: every element is written once, in whole aligned vectors, and
// the output is too large to be found in the caches afterwards.
func (p *plan) streamable() bool {
	return p.direct && !p.accumulate && p.chunks == 0 && p.k <= p.kBlock && 4*p.m*p.n > l3/2 &&
		uintptr(p.out.base)%64 == 0 && p.out.ld%16 == 0
}

// evenBlock returns the length of the fewest blocks of nearly equal length, at most limit each, that cover n. It is a
// multiple of step.
func evenBlock(n, limit, step int) int {
	blocks := max(1, (n+limit-1)/limit)
	return max(step, roundUp((n+blocks-1)/blocks, step))
}

func (p *plan) rowBlocks() int { return (p.kn.rowTiles(p.m) + p.blockTiles - 1) / p.blockTiles }
func (p *plan) colBlocks() int { return (p.j1 - p.j0 + p.blockCols - 1) / p.blockCols }

// tileSlot is the size in floats of one packed row tile over one K block, including what packing may write past its end.
func (p *plan) tileSlot() int { return p.kn.mr*p.kBlock + spill }

func (p *plan) kBlocks() int { return (p.k1 - p.k0 + p.kBlock - 1) / p.kBlock }

// rangeB is the size in floats of all packed panels of B of the current range.
func (p *plan) rangeB() int { return (p.k1-p.k0)*roundUp(p.j1-p.j0, p.kn.lanes) + spill }

// layoutShared lays out the shared scratch memory of the current range: packed A, packed B, sums of earlier K groups.
func (p *plan) layoutShared() {
	var sizeA, sizeB, sizeSums int
	if p.packsA == allPack {
		sizeA = p.kBlocks() * p.kn.rowTiles(p.m) * p.tileSlot()
	}
	if p.packsB == allPack {
		sizeB = p.rangeB()
	}
	if !p.direct && p.k > p.kGroup {
		if p.outHoldsSums() {
			p.partial = p.out
		} else {
			sizeSums = p.m * p.n
		}
	}
	sizeSums, sizeA = roundUp(sizeSums, 16), roundUp(sizeA, 16)
	base := sharedMemory(p.pool, sizeSums+sizeA+sizeB+16)
	if sizeSums > 0 {
		p.partial = matrix{base: base, ld: p.n}
	}
	p.bufA = (*float32)(unsafe.Add(base, 4*sizeSums))
	p.bufB = at(p.bufA, sizeA)
}

func sharedMemory(p *pool.Pool, floats int) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(p.SharedF32(floats)))
}
