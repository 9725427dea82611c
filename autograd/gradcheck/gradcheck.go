// Package gradcheck compares the gradients that a tape computes with finite differences.
package gradcheck

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Named is a Var whose gradient is checked: a parameter, in f64 on the host.
type Named struct {
	Name string
	Var  *autograd.Var
}

// Options of a check. The zero value is the usual one.
type Options struct {
	// Limit is the largest relative error allowed, 1e-6 if 0.
	Limit float64
	// Elements is how many elements of each Var are checked, spread evenly; 12 if 0.
	Elements int
	// Step is the step of the differences, 3e-4 if 0.
	Step float64
}

// Run evaluates f, which builds outputs on the tape it is given, and checks the gradient of a fixed random
// projection of all outputs with respect to every Var by the fourth-order central difference
// (8(f(h)-f(-h)) - (f(2h)-f(-2h)))/12h. The error of a Var is the largest difference over the largest gradient
// of its elements. Everything must be float64. It returns the largest error found.
func Run(b kernels.Backend, vars []Named, o Options, f func(t *autograd.Tape) []*autograd.Var) (worst float64, err error) {
	if o.Limit == 0 {
		o.Limit = 1e-6
	}
	if o.Elements == 0 {
		o.Elements = 12
	}
	if o.Step == 0 {
		o.Step = 3e-4
	}
	arena := tensor.NewArena(b.Allocator())
	arena.Poison = true
	t := autograd.NewTape(b, arena, tensor.F64)
	loss := func() float64 {
		var sum float64
		t.NoGrad(func() {
			for k, y := range f(t) {
				r := tensor.NewRand(1, uint32(k), 0, 1<<25)
				for i := 0; i < y.Value.Len(); i++ {
					sum += r.Norm() * y.Value.At(i)
				}
			}
		})
		t.Reset()
		return sum
	}
	for _, v := range vars {
		v.Var.ZeroGrad()
	}
	for k, y := range f(t) {
		r := tensor.NewRand(1, uint32(k), 0, 1<<25)
		g, acc := t.GradBuffer(y)
		for i := 0; i < g.Len(); i++ {
			w := r.Norm()
			if acc {
				w += g.At(i)
			}
			g.Set(i, w)
		}
	}
	t.Backward()
	grads := make([][]float64, len(vars))
	for k, v := range vars {
		if !v.Var.HasGrad() {
			return 0, fmt.Errorf("gradcheck: %s got no gradient", v.Name)
		}
		grads[k] = append([]float64(nil), v.Var.Grad.F64()...)
	}
	t.Reset()
	for k, v := range vars {
		x := v.Var.Value.F64()
		step := max(len(x)/o.Elements, 1)
		var diff, size float64
		at := 0
		for i := k % step; i < len(x); i += step {
			keep := x[i]
			eval := func(h float64) float64 { x[i] = keep + h; return loss() }
			h := o.Step
			numeric := (8*(eval(h)-eval(-h)) - (eval(2*h) - eval(-2*h))) / (12 * h)
			x[i] = keep
			if d := math.Abs(numeric - grads[k][i]); d > diff || math.IsNaN(d) {
				diff, at = d, i
			}
			size = max(size, math.Abs(numeric), math.Abs(grads[k][i]))
		}
		if size < 1e-9 && diff < 1e-9 {
			continue
		}
		rel := diff / size
		worst = max(worst, rel)
		if !(rel <= o.Limit) {
			return rel, fmt.Errorf("gradcheck: %s: element %d has gradient %g, off by %g of %g: relative error %.2g above %.2g",
				v.Name, at, grads[k][at], diff, size, rel, o.Limit)
		}
	}
	return worst, nil
}
