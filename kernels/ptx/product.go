package ptx

import "github.com/dino-mx/dmx/kernels/ptx/syntax"

// warpgroup is four consecutive warps, the first a multiple of four. Its matrix products are executed by all four.
type warpgroup struct {
	products []*product // in order; those that every warp has finished are nil
}

// product is one wgmma.mma_async of a warpgroup: d = a·b (+ d), m64nNk16, bf16 with f32 accumulation.
type product struct {
	op       *productOp
	a, b     descriptor // a is unused if it comes from registers
	rawA     uint64
	rawB     uint64
	add      bool      // scale-d
	issued   uint8     // warps of the group that have asked for it
	finished uint8     // warps of the group that have taken its result
	read     int32     // its number among the asynchronous reads
	ma, mb   []float32 // the operands [64][16] and [16][n], read when the first warp takes its result
}

// productOp is the compiled instruction.
type productOp struct {
	in             *syntax.Instr
	n              int
	d              []int // accumulator registers: 2i and 2i+1 hold columns 8(i/2)+2(l%4) and the next of row l/4+8(i%2)
	a              []int // registers of a, nil if a comes from shared memory
	transA, transB bool
	negate         bool // one of the operands is negated
}

// matrixState is what a warp has to do with matrix products.
type matrixState struct {
	issued int          // products asked for
	open   []*product   // since the last commit
	groups [][]*product // committed, oldest first
	owner  []*product   // per register: the product in flight that uses it
	dirty  []bool       // per register: touched since the last wgmma.fence
}

func (s *matrixState) reset(nregs int) {
	if s.owner == nil {
		s.owner, s.dirty = make([]*product, nregs), make([]bool, nregs)
	}
	clear(s.owner)
	s.issued, s.open, s.groups = 0, nil, nil
	for i := range s.dirty {
		s.dirty[i] = true
	}
}
