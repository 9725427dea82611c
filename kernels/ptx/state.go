package ptx

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
	"github.com/dino-mx/dmx/tensor"
)

// launch is one running grid. Blocks run one after the other in random order; inside a block a random warp runs
// until it blocks, ends, or has used up a random quantum.
type launch struct {
	m           *Machine
	p           *program
	grid, block [3]int
	params      []byte
	counters    *Counters
	budget      int64
	rand        *tensor.Rand
	shared      *shared
	findings    Findings
	seen        map[findingKey]bool

	// the running block
	cta      [3]int
	ctaIndex int32
	warps    []*warp
	barriers [16]barrier
	cluster  clusterBarrier

	mbarriers  map[uint64]*mbarrier // by offset in shared memory
	bulk       []*bulkCopy          // on their way
	reads      []asyncRead          // reads of shared memory by asynchronous operations; the first is unused
	warpgroups []*warpgroup
	pool       int           // registers that no warp owns (setmaxnreg)
	idle       int           // waits that gave up since anything moved
	at         *syntax.Instr // the instruction to blame for what happens asynchronously
}

type findingKey struct {
	kind  Kind
	instr int
}

// barrier is one named barrier of the running block.
type barrier struct {
	want    int // threads expected, 0 for all that live
	arrived int
	waiting []*warp
	clock   clock // what had happened before each warp arrived
}

// abort unwinds the interpreter after a mistake that cannot be stepped over.
type abort struct{}

// warp is 32 threads with their registers. While its threads have parted ways it holds several groups and
// always runs the one with the smallest program counter, so that they meet again.
type warp struct {
	l    *launch
	p    *program
	id   int
	live uint32 // lanes that have not exited

	pc     int
	mask   uint32 // lanes of the running group
	others []group

	regs  []lanes
	init  []uint32 // lanes of each register that hold a value
	preds []uint32
	pinit []uint32
	local []byte // 32 consecutive thread areas
	linit []byte

	clock                    // actions of another agent before this time happened before ours
	partial   []partialClock // what only some lanes have observed
	lanesSeen uint32         // actions of our own lanes before this time are ordered for all our lanes
	touched   uint32         // lanes that accessed memory since then
	wrote     uint32         // lanes that wrote shared memory since then
	blocked   func() bool    // whether the warp may go on; nil if it may
	until     func() bool    // what an instruction that has to wait waits for
	why       func() string  // the same in words
	yield     bool           // let others run
	async     asyncCopies
	bulk      [32]bulkGroups
	mma       matrixState

	clusterArrived bool // at the cluster barrier, without having waited
	clusterPhase   int  // and in which phase

	registers []int       // what setmaxnreg asked for, one value after the other
	last      *allocation // where the last global access went
}

type group struct {
	pc     int
	mask   uint32
	parked bool        // waits at an instruction of the whole warp for the other groups
	until  func() bool // waits for something else
}

type program struct {
	k     *syntax.Kernel
	steps []step
	nregs int
	npred int

	mbarriers bool // the kernel uses mbarriers
	tracked   bool // the kernel has operations that read shared memory asynchronously
	matrix    bool // the kernel has wgmma
}

type stepKind uint8

const (
	stepPlain  stepKind = iota
	stepBranch          // may part the warp
	stepExit            // ends the threads
	stepSync            // needs the whole warp and may block
	stepWait            // any lanes; may have to wait
)

// step is one instruction ready to run.
type step struct {
	in              *syntax.Instr
	kind            stepKind
	run             func(w *warp, m uint32)
	sync            func(w *warp, m uint32) bool // false when the warp now waits
	wait            func(w *warp, m uint32) bool // false when the lanes must wait for w.until
	converge        bool                         // an instruction of the whole warp: paths join before it
	guard           int
	negate          bool
	target          int
	reads, writes   []int
	preads, pwrites []int
	product         *productOp // of wgmma.mma_async
	mmaRegs         []int      // registers touched that a matrix product of the kernel uses
}

// mbarrier is one mbarrier object. A phase completes when no arrival is pending and the transaction count is zero.
type mbarrier struct {
	off     uint64 // in shared memory
	agent   int    // in whose name the copy engine writes what it reports here
	count   int    // arrivals a phase expects
	pending int    // arrivals the current phase still expects
	tx      int    // bytes the current phase still expects
	phase   int    // number of completed phases

	arrived   clock // what happened before the arrivals so far
	completed clock // what happened before the completed phases

	initWarp, initLane int
	initTime           uint32
	published          bool // a fence has made the initial state visible to the async proxy

	waiting []mbarrierWait
}

// mbarrierWait is a warp that waits for a phase and has not gone on yet.
type mbarrierWait struct {
	w     *warp
	phase int
}

func (b *mbarrier) String() string {
	return fmt.Sprintf("mbarrier at byte %d of shared memory (phase %d: %d of %d arrivals pending, transaction count %d)", b.off, b.phase, b.pending, b.count, b.tx)
}

// bulkCopy is one request to the copy engine. Its bytes move at a random later time, a random part at a time.
type bulkCopy struct {
	in     *syntax.Instr
	w      *warp
	lane   int
	pieces []piece
	moved  int       // pieces that have landed (load) or been written (store)
	bar    *mbarrier // a load reports its bytes here
	copies []copyOp  // of cp.async, whose end is an arrival (cp.async.mbarrier.arrive)
	read   int32     // a store's number among the asynchronous reads
	data   []byte    // what a store has read; nil until then
}

// bulkGroups are the bulk stores of one thread: those not committed yet and the committed groups, oldest first.
type bulkGroups struct {
	open   []*bulkCopy
	groups [][]*bulkCopy
}

func (b *bulkCopy) load() bool { return len(b.pieces) > 0 && b.bar != nil }
