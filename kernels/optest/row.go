package optest

import (
	"fmt"
	"hash/fnv"
	"math"
	"strings"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/tensor"
)

// spec announces a row of the table; build makes its operands when it is run.
type spec struct {
	op, name string
	work     int64 // FLOPs or elements, whichever is more
	gradient bool  // a backward operation: bf16 may lose three times, not twice
	size     size
	build    func(*row)
}

// size says what a row is for.
type size uint8

const (
	tile  size = iota // around the edges of tiles: Run
	split             // enough work to be split among threads: Deterministic
	bench             // enough to leave the caches: Benchmark
)

// row is one call of one operation with a given working type.
type row struct {
	*spec
	dtype    tensor.DType
	rand     *tensor.Rand
	mixed    bool // parameters are f32 whatever the working type
	shifted  bool // tensors lie one element off their alignment
	operands []*operand
	flops    int64

	// call asks a backend for the operation on the operands' current tensors.
	call func(kernels.Backend)
	// bound fills the bounds of the outputs from values and wanted results.
	bound func()
	// verify checks what a bound cannot say, on the downloaded results.
	verify func() error
	// unmoved is the bytes of operands that the operation need not move; nil for none.
	unmoved func() int64
	// plain says that a plain implementation keeps matrices inside the operation in the working type.
	plain bool
}

type role uint8

const (
	in      role = iota // read; must come back unchanged
	out                 // overwritten; holds NaN before
	inout               // read and written
	scratch             // written, content of no interest
)

// operand is one tensor of a row, in all its forms.
type operand struct {
	name  string
	role  role
	dtype tensor.DType // as the backend under test sees it
	shape []int
	half  bool      // the bf16 copy of a master weight: bf16 in the oracle too
	val   []float64 // content before the call, rounded to dtype
	want  []float64 // the oracle's result
	err   []float64 // bound on the f32 error of each element of want
	got   []float64
	loss  []float64 // what a plain implementation loses, nil if only by the last rounding

	t *tensor.Tensor // what call uses: of the oracle, the plain implementation or the backend in turn
}

func (s *spec) row(dtype tensor.DType) *row {
	h := fnv.New64a()
	fmt.Fprint(h, s.op, s.name)
	seed := h.Sum64()
	r := &row{spec: s, dtype: dtype, rand: tensor.NewRand(seed, 0, 0, 1<<24), mixed: seed%2 == 0, shifted: seed%3 == 0}
	s.build(r)
	return r
}

// period is a prime, so that no two rows of a large operand are alike.
const period = 16381

func (r *row) add(name string, role role, dtype tensor.DType, src source, shape []int) *operand {
	o := &operand{name: name, role: role, dtype: dtype, shape: shape}
	n := tensor.Shape(shape).Len()
	o.val = make([]float64, n)
	for i := range o.val {
		switch {
		case src == nil:
			o.val[i] = math.NaN()
		case i < period:
			o.val[i] = round(dtype, src(r.rand))
		default:
			o.val[i] = o.val[i-period] // drawing costs more than the operation
		}
	}
	r.operands = append(r.operands, o)
	return o
}

// in adds an input of the working type.
func (r *row) in(name string, src source, shape ...int) *operand {
	return r.add(name, in, r.dtype, src, shape)
}

// inAs adds an input of a given type.
func (r *row) inAs(name string, dtype tensor.DType, src source, shape ...int) *operand {
	return r.add(name, in, dtype, src, shape)
}

// param adds an input that may be f32 beside bf16 operands.
func (r *row) param(name string, src source, shape ...int) *operand {
	return r.add(name, in, r.paramType(), src, shape)
}

func (r *row) paramType() tensor.DType {
	if r.mixed && r.dtype == tensor.BF16 {
		return tensor.F32
	}
	return r.dtype
}

// statType is the type of statistics.
func (r *row) statType() tensor.DType {
	if r.dtype == tensor.F64 {
		return tensor.F64
	}
	return tensor.F32
}

// stat adds an input that is a statistic.
func (r *row) stat(name string, src source, shape ...int) *operand {
	return r.add(name, in, r.statType(), src, shape)
}

// out adds an output of the working type, outStat one that is a statistic.
func (r *row) out(name string, shape ...int) *operand {
	return r.add(name, out, r.dtype, nil, shape)
}

func (r *row) outStat(name string, shape ...int) *operand {
	return r.add(name, out, r.statType(), nil, shape)
}

// inout adds an operand that is updated.
func (r *row) inout(name string, dtype tensor.DType, src source, shape ...int) *operand {
	return r.add(name, inout, dtype, src, shape)
}

// sum adds an output that is accumulated into if acc is set, and else overwritten.
func (r *row) sum(name string, dtype tensor.DType, acc bool, shape ...int) *operand {
	if acc {
		return r.inout(name, dtype, normal(1), shape...)
	}
	return r.add(name, out, dtype, nil, shape)
}

// index adds an i32 input.
func (r *row) index(name string, values []int32, shape ...int) *operand {
	o := r.add(name, in, tensor.I32, nil, shape)
	for i, v := range values {
		o.val[i] = float64(v)
	}
	return o
}

// host gives the operand a host tensor of the given type with its first content.
func (o *operand) host(dtype tensor.DType) {
	o.t = tensor.Zeros(dtype, o.shape...)
	put(o.t, o.val)
}

// tensorOf is the current tensor of an operand that may be nil.
func tensorOf(o *operand) *tensor.Tensor {
	if o == nil {
		return nil
	}
	return o.t
}

// oracle fills want, err and loss.
func (r *row) oracle() {
	exact := ref.New()
	for _, o := range r.operands {
		if o.dtype == tensor.I32 || o.half {
			o.host(o.dtype)
		} else {
			o.host(tensor.F64)
		}
	}
	r.call(exact)
	for _, o := range r.operands {
		if o.role != in {
			o.want = get(o.t)
			o.err = make([]float64, len(o.want))
		}
	}
	if r.bound != nil {
		r.bound()
	}
	if !r.plain || r.dtype == tensor.F32 || r.dtype == tensor.F64 {
		return
	}
	for _, o := range r.operands {
		o.host(o.dtype)
	}
	r.call(ref.NewPlain(r.dtype))
	for _, o := range r.operands {
		if o.role == out || o.role == inout {
			o.loss = rowMax(get(o.t), o.want, o.shape[len(o.shape)-1])
		}
	}
}

// rowMax spreads the largest difference of each row over the row.
func rowMax(got, want []float64, cols int) []float64 {
	loss := make([]float64, len(want))
	for at := 0; at < len(want); at += cols {
		worst := 0.0
		for i := at; i < at+cols; i++ {
			if d := math.Abs(got[i] - want[i]); d > worst { // not where either is NaN
				worst = d
			}
		}
		for i := at; i < at+cols; i++ {
			loss[i] = worst
		}
	}
	return loss
}

// tolerance is what element i of the result may be off.
func (r *row) tolerance(o *operand, i int) float64 {
	if o.err[i] == 0 {
		return 0
	}
	tol := o.err[i] + storeLoss(o.dtype, math.Abs(o.want[i])+o.err[i])
	if o.dtype == tensor.BF16 {
		times := 2.0
		if r.gradient {
			times = 3
		}
		loss := storeLoss(o.dtype, math.Abs(o.want[i])+o.err[i])
		if o.loss != nil {
			loss = math.Max(loss, o.loss[i])
		}
		tol = o.err[i] + times*loss
	} else if o.loss != nil {
		tol += 2 * o.loss[i]
	}
	return tol + flush
}

// compare returns the first difference between got and want, and how many there are.
func (r *row) compare(o *operand) error {
	bad, first := 0, -1
	for i, want := range o.want {
		if !r.agrees(o, i, o.got[i], want) {
			bad++
			if first < 0 {
				first = i
			}
		}
	}
	if bad == 0 {
		return nil
	}
	i := first
	return fmt.Errorf("%s %s%v[%s] is %v, want %v within %.3g; %d of %d elements differ",
		o.name, o.dtype, o.shape, position(o.shape, i), o.got[i], o.want[i], r.tolerance(o, i), bad, len(o.want))
}

func (r *row) agrees(o *operand, i int, got, want float64) bool {
	switch {
	case math.IsNaN(want):
		return math.IsNaN(got)
	case math.IsInf(want, 0):
		return got == want
	case o.err[i] == 0:
		return got == round(o.dtype, want)
	default:
		return math.Abs(got-want) <= r.tolerance(o, i)
	}
}

// position turns an element number into indices, for messages.
func position(shape []int, i int) string {
	at := make([]string, len(shape))
	for d := len(shape) - 1; d >= 0; d-- {
		at[d] = fmt.Sprint(i % shape[d])
		i /= shape[d]
	}
	return strings.Join(at, " ")
}
