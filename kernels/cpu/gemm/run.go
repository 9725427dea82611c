package gemm

import (
	"github.com/dino-mx/dmx/kernels/cpu/pool"
)

// Multiplier performs kernels.Gemm on the threads of a pool. It uses the pool's shared scratch memory and that
// of its workers, and allocates nothing once these have grown. It serves one goroutine at a time, like its pool.
type Multiplier struct {
	pool *pool.Pool
}

// New makes a Multiplier on p.
func New(p *pool.Pool) *Multiplier { return &Multiplier{pool: p} }
