package gemm

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"

	"github.com/dino-mx/dmx/kernels/cpu/pool"
)

// Where K is cut decides which sums are formed, so these sizes are constants: results do not depend on the
// machine's caches. What depends on the caches is only the order in which finished sums are visited.
const (
	// maxKBlock is the longest stretch of K that one chain of multiply-adds covers. A panel of B of this length
	// is 48 KiB (AVX2) or 96 KiB (AVX-512) and streams from the L2 cache.
	maxKBlock = 768
	// Where A has few rows, a shorter stretch lets all of them stay in the L2 cache: residentA elements, with a
	// stretch of minKBlock at least.
	minKBlock = 384
	residentA = 160 << 10
	// chunkRows, chunkCols and chunkProduct are the largest m, width and m·width, and chunkDepth the least k, for which K is
	// cut into chunks that are multiplied apart: such products have too few tiles to share among threads, and a
	// long way to go in each.
	chunkRows    = 512
	chunkCols    = 2048
	chunkProduct = 1 << 15
	chunkDepth   = 1024
	// foldRows is the number of rows of one task when chunks are added up.
	foldRows = 4
	// leastRows is the number of rows that a task at least takes, so that a panel of B is worth fetching; blockRows
	// the number whose packed A is to fit half the L2 cache.
	leastRows = 42
	blockRows = 84
	// ownColumns is how many columns a worker has at least to multiply A by where it packs all of A for itself; ownRows
	// the number of rows for all of B.
	ownColumns, ownRows = 128, 512
	// wantTasks is how many tasks a phase is cut into where the shape allows, so that threads end together.
	wantTasks = 48
)

// Sizes of the caches of one core, in bytes, with cautious values where cpuid does not tell.
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

// plan is one multiplication: its operands, how it is cut up, and the stretch that is being worked on.
type plan struct {
	pool           *pool.Pool
	kn             *kernel
	m, n, k        int
	a, b           matrix
	transA, transB bool
	alpha          float32
	direct         bool // tiles go straight to the output
	streams        bool // past the caches
	epilogue

	kBlock, kGroup   int // stretches of K: of one chain, of one packing
	chunks, chunkLen int // stretches of K multiplied apart, 0 for none
	colGroup         int // columns of one pass over the rows
	packsA, packsB   packs
	kept             []kept
	blockTiles       int // row tiles of one task
	blockCols        int // columns of one task
	innerCols        int // columns of a task that are finished together, while they are in the L2 cache

	j0, j1, k0, k1 int // the stretch of columns and of K at work
	bufA, bufB     *float32
	partial        matrix // sums over the K groups before this one
}

// packs says who packs an operand, and for whom.
type packs int

const (
	taskPacks   packs = iota // each task its own part, for itself
	workerPacks              // each worker all of the stretch at work, for its tasks
	allPack                  // all workers together, before the tiles
)

// kept is what a worker's scratch memory holds from task to task of a stretch: the operand that it packs once, and the
// block of A it packs ahead.
type kept struct {
	packed bool
	next   next
	_      [72]byte // processors fetch lines in pairs
}

// packsNext tells that tasks are blocks of rows, which a worker packs one while it multiplies another.
func (p *plan) packsNext() bool { return p.packsA == taskPacks && p.packsB != taskPacks }

// sizeA is the room of a packed block of row tiles.
func (p *plan) sizeA() int { return roundUp(p.kBlocks()*p.blockTiles*p.tileSlot(), 16) }

// choose decides how to cut the product up. K is cut by the width of the output, not by n: a stretch of its columns
// then has the same bits as if the whole had been multiplied in one call.
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
		// Few rows: A stays in everyone's L2 cache; each task packs its own columns of B. Where every worker has columns
		// enough to repay it, each packs A for itself: that takes less time than a copy's way from another core's cache.
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
	// Many rows: B is packed for all tasks, each task packs its own rows of A and keeps them in the L2 cache.
	p.packsB = allPack
	p.kGroup = p.kBlock * max(1, l2/2/(4*blockRows)/p.kBlock)
	depth := min(p.k, p.kGroup)
	p.colGroup = max(512, l3/4/(4*depth)/panel*panel)
	fit := max(1, l2/2/(4*kn.mr*depth))
	p.blockTiles = min(fit, max(leastRows/kn.mr, tiles/wantTasks))
	p.blockCols = p.colGroup
	if blocks := (tiles + p.blockTiles - 1) / p.blockTiles; blocks < wantTasks/2 {
		// Too few of them: cut along the columns too, and pack A once for all.
		p.packsA = allPack
		for p.innerCols > panel && blocks*(p.n/p.innerCols) < wantTasks {
			p.innerCols /= 2
		}
		p.blockCols = p.innerCols
	} else if threads := p.pool.Threads(); p.m >= ownRows*threads && min(p.n, p.colGroup)*depth*threads <= l3/4/4 {
		p.packsB = workerPacks // for the same reason, if the L3 cache has room for as many copies
	}
}

// streamable tells whether results may go past the caches: they are written once, in whole aligned vectors, and are
// too many to be found in the caches afterwards.
func (p *plan) streamable() bool {
	return p.direct && !p.accumulate && p.chunks == 0 && p.k <= p.kBlock && 4*p.m*p.n > l3/2 &&
		uintptr(p.out.base)%64 == 0 && p.out.ld%16 == 0
}

// evenBlock is the length of the fewest nearly equal blocks, none above limit, that cover n; a multiple of step.
func evenBlock(n, limit, step int) int {
	blocks := max(1, (n+limit-1)/limit)
	return max(step, roundUp((n+blocks-1)/blocks, step))
}

func (p *plan) rowBlocks() int { return (p.kn.rowTiles(p.m) + p.blockTiles - 1) / p.blockTiles }
func (p *plan) colBlocks() int { return (p.j1 - p.j0 + p.blockCols - 1) / p.blockCols }

// tileSlot is the room of one packed row tile over one K block, with what packing may spill.
func (p *plan) tileSlot() int { return p.kn.mr*p.kBlock + spill }

func (p *plan) kBlocks() int { return (p.k1 - p.k0 + p.kBlock - 1) / p.kBlock }

// stretchB is the room of all panels of the stretch at work.
func (p *plan) stretchB() int { return (p.k1-p.k0)*roundUp(p.j1-p.j0, p.kn.lanes) + spill }

// share lays out the shared scratch memory of this stretch: packed A, packed B, sums of earlier K groups.
func (p *plan) share() {
	var sizeA, sizeB, sizeSums int
	if p.packsA == allPack {
		sizeA = p.kBlocks() * p.kn.rowTiles(p.m) * p.tileSlot()
	}
	if p.packsB == allPack {
		sizeB = p.stretchB()
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
