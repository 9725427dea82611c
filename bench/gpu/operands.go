package main

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/tensor"
)

// period is a prime, so that no two rows of a matrix are alike.
const period = 1000003

// normals draws the numbers that operands are made of, N(0,1) in bf16.
func normals() []uint16 {
	r := tensor.NewRand(17, 0, 0, 1<<24)
	v := make([]uint16, period)
	for i := range v {
		v[i] = tensor.ToBF16(float32(r.Norm()))
	}
	return v
}

// store hands out operands on a device and takes them back together.
type store struct {
	g       *gpu
	normals []uint16
	held    []*tensor.Buffer
	next    int // where in normals the next operand starts
}

func newStore(g *gpu) *store { return &store{g: g, normals: normals()} }

// release gives all operands back.
func (s *store) release() {
	for _, b := range s.held {
		s.g.backend.Allocator().Free(b)
	}
	s.held = nil
}

// empty is device memory of undefined content.
func (s *store) empty(d tensor.DType, shape ...int) (*tensor.Tensor, error) {
	buf, err := s.g.backend.Allocator().Alloc(tensor.Shape(shape).Len() * d.Size())
	if err != nil {
		return nil, err
	}
	s.held = append(s.held, buf)
	return tensor.Over(buf, 0, d, shape...), nil
}

// upload is a copy of a host tensor on the device.
func (s *store) upload(host *tensor.Tensor) (*tensor.Tensor, error) {
	t, err := s.empty(host.DType(), host.Shape()...)
	if err != nil {
		return nil, err
	}
	s.g.backend.Upload(t, host)
	return t, s.g.backend.Sync()
}

// host is a host tensor of N(0,1), bf16 or f32.
func (s *store) host(d tensor.DType, shape ...int) *tensor.Tensor {
	t := tensor.Zeros(d, shape...)
	at := s.next % period
	s.next += 7919
	if d == tensor.BF16 {
		for dst := t.BF16(); len(dst) > 0; at = 0 {
			n := copy(dst, s.normals[at:])
			dst = dst[n:]
		}
		return t
	}
	for i, dst := 0, t.F32(); i < len(dst); i++ {
		dst[i] = tensor.FromBF16(s.normals[(at+i)%period])
	}
	return t
}

// normal is N(0,1) on the host and on the device.
func (s *store) normal(d tensor.DType, shape ...int) (host, dev *tensor.Tensor, err error) {
	host = s.host(d, shape...)
	dev, err = s.upload(host)
	return host, dev, err
}

// download is a device tensor on the host.
func (s *store) download(t *tensor.Tensor) (*tensor.Tensor, error) {
	host := tensor.Zeros(t.DType(), t.Shape()...)
	s.g.backend.Download(host, t)
	return host, s.g.backend.Sync()
}

// poison fills a tensor with NaN, so that what a kernel does not write shows.
func (s *store) poison(t *tensor.Tensor) { s.g.backend.Fill(t, math.NaN()) }

// within is the largest ‖got-want‖/‖want‖ that bf16 operands explain.
const within = 1e-2

// compare holds results against float64.
func compare(what string, got, want []float64) error {
	diff, size := 0.0, 0.0
	for i := range want {
		diff += (got[i] - want[i]) * (got[i] - want[i])
		size += want[i] * want[i]
	}
	if d := math.Sqrt(diff / size); !(d <= within) { // also for NaN
		return fmt.Errorf("%s: wrong result: off float64 by %.3g of its norm, at most %g is rounding", what, d, within)
	}
	return nil
}
