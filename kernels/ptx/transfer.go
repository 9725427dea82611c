package ptx

import "github.com/dino-mx/dmx/kernels/ptx/syntax"

// clusterBarrier is barrier.cluster of a cluster of one block: arrive and wait are two instructions.
type clusterBarrier struct {
	arrived int
	phase   int
	clock   clock
	opened  clock // what happened before the last completed phase
}

func (b *clusterBarrier) reset() { *b = clusterBarrier{} }

// asyncCopies are the cp.async copies of one warp. The bytes are copied when the threads wait for them, not
// when they ask: a missing wait then reads old data and is reported.
type asyncCopies struct {
	open   []copyOp
	groups [][]copyOp // committed, oldest first
}

type copyOp struct {
	lane    int
	dst     uint64 // offset in shared memory
	src     uint64
	size, n int // bytes of the target, of which n are copied and the rest zeroed
}

func (a *asyncCopies) reset() { a.open, a.groups = a.open[:0], a.groups[:0] }

// takeLane removes the copies of one lane.
func (a *asyncCopies) takeLane(lane int) []copyOp {
	var taken []copyOp
	take := func(ops []copyOp) []copyOp {
		rest := ops[:0]
		for _, o := range ops {
			if o.lane == lane {
				taken = append(taken, o)
			} else {
				rest = append(rest, o)
			}
		}
		return rest
	}
	for i, g := range a.groups {
		a.groups[i] = take(g)
	}
	a.open = take(a.open)
	return taken
}

// asyncRead is one asynchronous operation that reads shared memory: a matrix product or a bulk store. Memory that it
// reads may be written again only by who knows that it has finished: who waited for it, or is ordered after that.
type asyncRead struct {
	in    *syntax.Instr
	done  [4]readDone // who waited for it
	ndone int
}

type readDone struct {
	warp, lane int // lane -1: the whole warp
	time       uint32
}

// piece is one 16-byte step of a bulk copy: n bytes at src of global memory and, from byte skip on, the 16 bytes at off
// of shared memory. What a load does not take from memory is zero.
type piece struct {
	off     uint64
	src     uint64
	skip, n uint8
}
