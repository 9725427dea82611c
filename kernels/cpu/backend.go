package cpu

import (
	"sync"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/gemm"
	"github.com/dino-mx/dmx/kernels/cpu/pool"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

var _ kernels.Backend = (*Backend)(nil)

// Options configure a backend.
type Options struct {
	Threads int // 0 means GOMAXPROCS
}

// Backend runs operations on the CPU. It may be used from several goroutines; operations then take turns, each
// with all threads.
type Backend struct {
	mu      sync.Mutex
	pool    *pool.Pool
	gemm    *gemm.Multiplier
	call    kernels.Gemm // kept here so that passing it on allocates nothing
	workers []worker
	running share
	ops     ops
	shared  []float32 // partial sums of the operation in progress
	sums    []float64
}

// ops holds one struct per operation, so that starting one allocates nothing.
type ops struct {
	fill       fillOp
	copy       copyOp
	axpy       axpyOp
	rowsCols   rowsColsOp
	dropout    dropoutOp
	colSum     colSumOp
	layerScale layerScaleOp
	act        actOp
	swiGLU     swiGLUOp
	norm       layerNormOp
	normGrad   layerNormGradOp
	l2         l2Op
	l2Grad     l2GradOp
	weight     weightNormOp
	weightGrad weightNormGradOp
	attn       attentionOp
	attnGrad   attentionGradOp
	attnRows   attentionRowsOp
	rope       ropeOp
	patchify   patchifyOp
	gather     gatherOp
	scatter    scatterOp
	lse        lseOp
	colExp     colExpOp
	softmax    softmaxOp
	sinkhorn   sinkhornOp
	cross      crossOp
	nearest    nearestOp
	koleo      koleoOp
	mse        mseOp
	sum        sumOp
	moments    momentsOp
	squares    squaresOp
	adam       adamOp
}

// New makes a backend. Close it when it is no longer needed.
func New(o Options) *Backend {
	b := &Backend{pool: pool.New(o.Threads)}
	b.gemm = gemm.New(b.pool)
	b.workers = make([]worker, b.pool.Threads())
	return b
}

// SetThreads changes the number of threads; 0 means GOMAXPROCS. Results do not depend on it.
func (b *Backend) SetThreads(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pool.SetThreads(n)
	b.workers = make([]worker, b.pool.Threads())
}

// Threads is the number of threads in use.
func (b *Backend) Threads() int { return b.pool.Threads() }

// Close ends the backend's threads. It must not be used afterwards.
func (b *Backend) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pool.Close()
}

// Name is the instruction set in use: "cpu/avx512", "cpu/avx2" or "cpu/generic".
func (b *Backend) Name() string { return "cpu/" + vec.Active().String() }

// Allocator is the host's.
func (b *Backend) Allocator() tensor.Allocator { return tensor.Host }

// Sync returns at once: every operation has ended when its call returns, and the CPU reports no faults.
func (b *Backend) Sync() error { return nil }

// Upload copies elements; both tensors are host memory.
func (b *Backend) Upload(dst, host *tensor.Tensor) {
	kernels.CheckTransfer("Upload", dst, host)
	copy(dst.Bytes(), host.Bytes())
}

// Download copies elements; both tensors are host memory.
func (b *Backend) Download(host, src *tensor.Tensor) {
	kernels.CheckTransfer("Download", host, src)
	copy(host.Bytes(), src.Bytes())
}
