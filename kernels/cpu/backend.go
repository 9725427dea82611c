package cpu

import (
	"runtime"
	"sync"

	"github.com/dino-mx/dmx/kernels"
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
	workers []worker
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
	gemm       gemmOp
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
	b := &Backend{}
	b.SetThreads(o.Threads)
	return b
}

// SetThreads changes the number of threads; 0 means GOMAXPROCS. Results do not depend on it.
func (b *Backend) SetThreads(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	b.workers = make([]worker, n)
}

// Close ends the backend's threads.
func (b *Backend) Close() {}

// Name is the instruction set in use: "cpu/avx512", "cpu/avx2" or "cpu/generic".
func (b *Backend) Name() string { return "cpu/generic" }

// Allocator is the host's.
func (b *Backend) Allocator() tensor.Allocator { return tensor.Host }

// Sync returns at once: every operation has ended when its call returns, and the CPU reports no faults.
func (b *Backend) Sync() error { return nil }

// Upload copies elements; both tensors are host memory.
func (b *Backend) Upload(dst, host *tensor.Tensor) { copyBytes(dst, host) }

// Download copies elements; both tensors are host memory.
func (b *Backend) Download(host, src *tensor.Tensor) { copyBytes(host, src) }

func copyBytes(dst, src *tensor.Tensor) {
	if dst.DType() != src.DType() || dst.Len() != src.Len() {
		mismatch("Copy", dst, src)
	}
	copy(dst.Bytes(), src.Bytes())
}
