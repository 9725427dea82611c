package optest

import (
	"fmt"
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/tensor"
)

// slopeCase is one backward operation with the forward it belongs to. loss is a scalar function of the variables in
// float64; backward asks for its gradient.
type slopeCase struct {
	op, name  string
	variables func(r *tensor.Rand) []*variable
	loss      func(b *ref.Backend, v []*variable) float64
	backward  func(b *device, v []*variable) []*tensor.Tensor // gradients by the variables, nil where there is none
}

// variable is one input of a loss.
type variable struct {
	data  []float64
	shape []int
	fixed bool // not differentiated: an output gradient, a table
}

func (v *variable) tensor() *tensor.Tensor { return tensor.FromF64(v.data, v.shape...) }

// draw makes a variable of random values, which are those of an f32 exactly.
func draw(r *tensor.Rand, src source, shape ...int) *variable {
	v := &variable{data: make([]float64, tensor.Shape(shape).Len()), shape: shape}
	for i := range v.data {
		v.data[i] = round(tensor.F32, src(r))
	}
	return v
}

// weights makes the output gradient that turns an operation's result into a loss.
func weights(r *tensor.Rand, shape ...int) *variable {
	v := draw(r, normal(1), shape...)
	v.fixed = true
	return v
}

// device makes tensors of one type on the backend under test.
type device struct {
	kernels.Backend
	dtype tensor.DType
	made  []*tensor.Buffer
}

func (d *device) alloc(dtype tensor.DType, shape ...int) *tensor.Tensor {
	n := tensor.Shape(shape).Len()
	buf, err := d.Allocator().Alloc(n * dtype.Size())
	if err != nil {
		panic(err)
	}
	d.made = append(d.made, buf)
	return tensor.Over(buf, 0, dtype, shape...)
}

func (d *device) free() {
	for _, b := range d.made {
		d.Allocator().Free(b)
	}
}

// up uploads a variable.
func (d *device) up(v *variable) *tensor.Tensor { return d.upload(d.dtype, v.data, v.shape) }

func (d *device) upload(dtype tensor.DType, data []float64, shape []int) *tensor.Tensor {
	host, t := tensor.Zeros(dtype, shape...), d.alloc(dtype, shape...)
	put(host, data)
	d.Upload(t, host)
	return t
}

func (d *device) zeros(shape ...int) *tensor.Tensor {
	return d.upload(d.dtype, nil, shape)
}

func (d *device) index(values ...int32) *tensor.Tensor {
	t := d.alloc(tensor.I32, len(values))
	d.Upload(t, tensor.FromI32(values, len(values)))
	return t
}

func (d *device) down(t *tensor.Tensor) []float64 {
	host := tensor.Zeros(t.DType(), t.Shape()...)
	d.Download(host, t)
	return get(host)
}

// Gradients compares every backward operation of b, in the given types (f32 unless Types says otherwise), with
// central differences of its forward in the float64 oracle. The relative error ‖g-g'‖/‖g'‖ of each gradient may be
// 1e-6 in f64, where only the differences themselves are inexact, and 1e-3 in f32.
func Gradients(t *testing.T, b kernels.Backend, opts ...Option) {
	t.Helper()
	opts = append([]Option{Types(tensor.F32)}, opts...)
	o := collect(opts)
	for _, c := range slopeCases() {
		if !o.wants(&spec{op: c.op}) {
			continue
		}
		for _, dtype := range o.types {
			t.Run(c.op+"/"+dtype.String()+"/"+c.name, func(t *testing.T) {
				if err := c.check(b, dtype); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func (c *slopeCase) check(b kernels.Backend, dtype tensor.DType) error {
	vars := c.variables(tensor.NewRand(7, 0, 0, 1<<24))
	dev := &device{Backend: b, dtype: dtype}
	defer dev.free()
	grads := c.backward(dev, vars)
	if err := b.Sync(); err != nil {
		return fmt.Errorf("device fault: %w", err)
	}
	limit := 1e-3
	if dtype == tensor.F64 {
		limit = 1e-6
	}
	exact := ref.New()
	for i, v := range vars {
		if v.fixed {
			continue
		}
		want := make([]float64, len(v.data))
		for j := range v.data {
			want[j] = centralDifference(func() float64 { return c.loss(exact, vars) }, &v.data[j])
		}
		got := dev.down(grads[i])
		diff, size := 0.0, 0.0
		for j := range want {
			diff += (got[j] - want[j]) * (got[j] - want[j])
			size += want[j] * want[j]
		}
		if rel := math.Sqrt(diff / size); !(rel <= limit) {
			return fmt.Errorf("gradient of variable %d %v: relative error %.3g against central differences, at most %.0e allowed\n got %v\nwant %v", i, v.shape, rel, limit, head(got), head(want))
		}
	}
	return nil
}

func head(v []float64) []float64 { return v[:min(len(v), 6)] }

// centralDifference is (f(x+h)-f(x-h))/2h with the h that balances the error of the third derivative with rounding.
func centralDifference(f func() float64, x *float64) float64 {
	old := *x
	h := 1e-5 * math.Max(1, math.Abs(old))
	*x = old + h
	hi := f()
	*x = old - h
	lo := f()
	*x = old
	return (hi - lo) / (2 * h)
}

// weigh is Σ out·weights.
func weigh(out *tensor.Tensor, w *variable) float64 {
	s := 0.0
	for i, v := range out.F64() {
		s += v * w.data[i]
	}
	return s
}
