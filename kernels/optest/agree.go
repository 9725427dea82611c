package optest

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/kernels"
)

// Agreement is what two backends made of one row.
type Agreement struct {
	Op, Type, Row string
	// Same tells that every output has the same bits.
	Same bool
	// Difference is the largest difference between the two, over the largest magnitude of the output it is in.
	Difference float64
	// Share is the largest difference over what the element may be off the oracle.
	Share float64
	// Err is what is wrong: a fault, or elements that differ by more than one of them may be off. Elements that must be
	// exact must be equal.
	Err error
}

// Agree runs every row of the table on two backends that carry out the same kernels, such as a device and its emulation,
// on the same inputs, and reports each to f in turn.
func Agree(a, b kernels.Backend, f func(Agreement), opts ...Option) {
	o := collect(opts)
	prepared(requests(&o), &o, func(q request, r *row) bool {
		g := Agreement{Op: q.spec.op, Type: q.dtype.String(), Row: q.spec.name}
		r.agree(a, b, &g)
		f(g)
		return true
	})
}

// agree runs the row on both backends and compares the results.
func (r *row) agree(a, b kernels.Backend, g *Agreement) {
	first, err := r.bits(a)
	if err != nil {
		g.Err = fmt.Errorf("%s: %w", a.Name(), err)
		return
	}
	second, err := r.bits(b)
	if err != nil {
		g.Err = fmt.Errorf("%s: %w", b.Name(), err)
		return
	}
	g.Same = true
	for i, o := range r.operands {
		if o.role != out && o.role != inout {
			continue
		}
		bad, at, largest, size := 0, -1, 0.0, 0.0
		for j, x := range first[i] {
			y := second[i][j]
			if v := math.Abs(o.want[j]); v > size && !math.IsInf(v, 0) {
				size = v
			}
			if math.Float64bits(x) == math.Float64bits(y) || math.IsNaN(x) && math.IsNaN(y) {
				continue
			}
			g.Same = false
			d, tol := math.Abs(x-y), r.tolerance(o, j)
			if d <= tol { // never for NaN
				largest, g.Share = max(largest, d), max(g.Share, d/tol)
				continue
			}
			if bad++; at < 0 {
				at = j
			}
		}
		if size > 0 {
			g.Difference = max(g.Difference, largest/size)
		}
		if bad > 0 && g.Err == nil {
			g.Err = fmt.Errorf("%s %s%v[%s] is %v on %s and %v on %s, want %v; they may differ by %.3g; %d of %d elements do by more",
				o.name, o.dtype, o.shape, position(o.shape, at), first[i][at], a.Name(), second[i][at], b.Name(), o.want[at], r.tolerance(o, at), bad, len(o.want))
		}
	}
}
