package kernels

import "github.com/dino-mx/dmx/tensor"

// OnHost reports whether the operations of b read and write host memory. Then a host tensor can be used as it is, and
// results are there without a copy.
func OnHost(b Backend) bool { return b.Allocator().Device().Kind == tensor.CPU }

// ToHost returns x in host memory: x itself where it lies there, else a new tensor that b has copied it to. A fault of
// the copy is reported by the next Sync.
func ToHost(b Backend, x *tensor.Tensor) *tensor.Tensor {
	if x.Device().Kind == tensor.CPU {
		return x
	}
	host := tensor.Zeros(x.DType(), x.Shape()...)
	b.Download(host, x)
	return host
}

// FromHost returns a copy of a host tensor in memory of b that lives until it is freed, for tables made once. The error
// wraps a *tensor.OutOfMemory.
func FromHost(b Backend, host *tensor.Tensor) (*tensor.Tensor, error) {
	x, err := tensor.New(b.Allocator(), host.DType(), host.Shape()...)
	if err != nil {
		return nil, tensor.AllocationFailed(b.Allocator().Device(), host.NumBytes(), err)
	}
	b.Upload(x, host)
	return x, nil
}

// FromHostIn returns a copy of a host tensor in an arena of b, for inputs of one step. The host tensor may be changed
// afterwards.
func FromHostIn(a *tensor.Arena, b Backend, host *tensor.Tensor) *tensor.Tensor {
	x := a.New(host.DType(), host.Shape()...)
	b.Upload(x, host)
	return x
}
