package gemm

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/pool"
)

// Multiplier performs kernels.Gemm on the threads of a pool. It uses the pool's shared scratch memory and that
// of its workers, and allocates nothing once these have grown. It serves one goroutine at a time, like its pool.
type Multiplier struct {
	pool *pool.Pool
	plan plan
	kept []kept
}

// New makes a Multiplier on p.
func New(p *pool.Pool) *Multiplier { return &Multiplier{pool: p} }

// Run performs g. Matrices are f32 or bf16 in any mixture; sums are f32. It panics on mistaken shapes.
func (x *Multiplier) Run(g *kernels.Gemm) {
	kernels.CheckGemm(*g)
	if g.M == 0 || g.N == 0 {
		return
	}
	p := &x.plan
	if len(x.kept) != x.pool.Threads() {
		x.kept = make([]kept, x.pool.Threads())
	}
	*p = plan{pool: x.pool, kept: x.kept, kn: current(), m: g.M, n: g.N, k: g.K, transA: g.TransA, transB: g.TransB, alpha: float32(g.Alpha)}
	p.a, p.b = view("A", g.A, g.ACol), view("B", g.B, g.BCol)
	if p.alpha == 0 {
		p.alpha = 1
	}
	p.epilogue = newEpilogue(g)
	p.direct = p.epilogue.plain() && !p.out.bf16
	p.choose()
	p.streams = p.streamable()
	switch {
	case p.chunks > 0:
		p.runChunks()
	default:
		p.runBlocks()
	}
	*p = plan{} // keep nothing alive
}

// runBlocks multiplies in blocks of columns and of K, each in two phases: pack what is shared, then multiply.
func (p *plan) runBlocks() {
	for j := 0; j < p.n; j += p.colGroup {
		p.j0, p.j1 = j, min(j+p.colGroup, p.n)
		for k := 0; k < max(p.k, 1); k += p.kGroup {
			p.k0, p.k1 = k, min(k+p.kGroup, p.k)
			p.layoutShared()
			clear(p.kept)
			if tasks := p.packTasks(); tasks > 0 {
				p.run(tasks, (*packPhase)(p))
			}
			p.run(p.rowBlocks()*p.colBlocks(), (*tilePhase)(p))
		}
	}
}

// runChunks multiplies stretches of K apart from each other and adds them up in order.
func (p *plan) runChunks() {
	p.k1, p.j1 = p.k, p.n
	p.partial = matrix{base: sharedMemory(p.pool, p.chunks*p.m*p.n), ld: p.n}
	p.run(p.chunks, (*chunkPhase)(p))
	p.run((p.m+foldRows-1)/foldRows, (*foldPhase)(p))
}

// run starts tasks on the pool, or performs them here when they are too small to share: waking a worker costs
// more than a few microseconds of work.
func (p *plan) run(tasks int, job pool.Job) {
	if p.m*p.n*max(p.k, 8) < 1<<17 {
		for t := range tasks {
			job.Do(t, 0)
		}
		return
	}
	p.pool.Run(tasks, job)
}

func (p *plan) String() string {
	return fmt.Sprintf("m=%d n=%d k=%d kBlock=%d kGroup=%d colGroup=%d chunks=%d packsA=%d packsB=%d tiles=%d cols=%d",
		p.m, p.n, p.k, p.kBlock, p.kGroup, p.colGroup, p.chunks, p.packsA, p.packsB, p.blockTiles, p.blockCols)
}
