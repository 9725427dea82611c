package ref

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Backend is the oracle on host memory. It belongs to one goroutine: it keeps scratch memory between calls, so
// that finite differences of a model do not allocate.
type Backend struct {
	scratch [][]float64
	used    int
	inner   tensor.DType
}

var _ kernels.Backend = (*Backend)(nil)

// New makes the oracle.
func New() *Backend { return &Backend{inner: tensor.F64} }

// NewPlain makes the plain implementation in a given type, which a fast backend's loss of accuracy is measured
// against: like New, but the matrices inside an operation that an unfused implementation would keep in memory
// (attention's probabilities and their gradient) are rounded to that type as well.
func NewPlain(inner tensor.DType) *Backend { return &Backend{inner: inner} }

// Name is "ref".
func (b *Backend) Name() string { return "ref" }

// Allocator is tensor.Host.
func (b *Backend) Allocator() tensor.Allocator { return tensor.Host }

// Sync does nothing: every operation has ended when it returns, and none fails.
func (b *Backend) Sync() error { return nil }

// Upload copies bytes.
func (b *Backend) Upload(dst, host *tensor.Tensor) {
	kernels.CheckTransfer("Upload", dst, host)
	copy(dst.Bytes(), host.Bytes())
}

// Download copies bytes.
func (b *Backend) Download(host, src *tensor.Tensor) {
	kernels.CheckTransfer("Download", host, src)
	copy(host.Bytes(), src.Bytes())
}
