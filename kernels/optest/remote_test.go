package optest

import (
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/tensor"
)

// remote is the oracle behind memory that the host cannot reach but by Upload and Download, for a few operations of
// which each stands for one way of using operands.
type remote struct {
	*ref.Backend
	memory map[uint64]*tensor.Buffer // by first address
	next   uint64
	live   int
}

func newRemote() *remote {
	return &remote{Backend: ref.New(), memory: map[uint64]*tensor.Buffer{}, next: 1 << 32}
}

func (r *remote) Allocator() tensor.Allocator { return r }
func (r *remote) Device() tensor.Device       { return tensor.Device{Kind: tensor.EmulatedCUDA} }

func (r *remote) Alloc(bytes int) (*tensor.Buffer, error) {
	host, err := tensor.Host.Alloc(bytes)
	b := &tensor.Buffer{Device: r.Device(), Addr: r.next, Size: bytes}
	r.memory[r.next] = host
	r.next += uint64(bytes+511) &^ 255
	r.live++
	return b, err
}

func (r *remote) Free(b *tensor.Buffer) { delete(r.memory, b.Addr); r.live-- }

// here is the tensor in the memory behind its address.
func (r *remote) here(t *tensor.Tensor) *tensor.Tensor {
	if t == nil {
		return nil
	}
	for base, host := range r.memory {
		if base <= t.Addr() && t.Addr()+uint64(t.NumBytes()) <= base+uint64(host.Size) {
			return tensor.Over(host, int(t.Addr()-base), t.DType(), t.Shape()...)
		}
	}
	panic("remote: " + t.String() + " lies nowhere")
}

func (r *remote) Upload(dst, host *tensor.Tensor)   { r.Backend.Upload(r.here(dst), host) }
func (r *remote) Download(host, src *tensor.Tensor) { r.Backend.Download(host, r.here(src)) }
func (r *remote) Axpy(y *tensor.Tensor, a float64, x *tensor.Tensor) {
	r.Backend.Axpy(r.here(y), a, r.here(x))
}

func (r *remote) SwiGLUBackward(dx, dy, x *tensor.Tensor) {
	r.Backend.SwiGLUBackward(r.here(dx), r.here(dy), r.here(x))
}

func (r *remote) GradSquares(out *tensor.Tensor, p *kernels.ParamTable) {
	r.Backend.GradSquares(r.here(out), changed(p, func(e *kernels.ParamEntry) {
		e.Param, e.Grad, e.M, e.V = r.here(e.Param), r.here(e.Grad), r.here(e.M), r.here(e.V)
		e.EMA, e.Half, e.EMA16 = r.here(e.EMA), r.here(e.Half), r.here(e.EMA16)
	}))
}

func (r *remote) NearestRows(index, dots *tensor.Tensor) {
	r.Backend.NearestRows(r.here(index), r.here(dots))
}

func TestMemoryThatIsNotTheHosts(t *testing.T) {
	b := newRemote()
	Run(t, b, Only("Axpy", "SwiGLUBackward", "GradSquares", "NearestRows"), Small)
	Gradients(t, b, Only("SwiGLUBackward"))
	if b.live != 0 {
		t.Errorf("%d buffers were not freed", b.live)
	}
}

// An oracle is the same whatever the number of threads; one whose bits depend on it must be found.
func TestDeterministicFindsFaults(t *testing.T) {
	r := groups(&options{ops: []string{"Sum"}})[0][0].row(tensor.F32)
	want, err := r.bits(ref.New())
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.bits(lastBit{ref.New()})
	if err != nil {
		t.Fatal(err)
	}
	if r.same(want, got, "one run", "another") == nil {
		t.Error("a difference in the last bit was not noticed")
	}
	Deterministic(t, func(int) kernels.Backend { return ref.New() }, Only("Sum", "AdamW"), Small)
}

type lastBit struct{ *ref.Backend }

func (b lastBit) Sum(out, x *tensor.Tensor, scale float64, accumulate bool) {
	b.Backend.Sum(out, x, scale, accumulate)
	out.Set(0, out.At(0)*(1+0x1p-23))
}
