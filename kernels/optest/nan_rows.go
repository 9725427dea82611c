package optest

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
)

// nanRows put a NaN into one input and ask that it arrives, and arrives nowhere else: a maximum that drops it, or a
// tile that spreads it, would hide or misplace what the trainer's roll-back looks for.
func nanRows() []*spec {
	var list []*spec
	add := func(op, name string, build func(r *row)) {
		list = append(list, &spec{op: op, name: "not a number/" + name, work: 5000, build: build})
	}
	poisoned := func(o *operand, i int) { o.val[i] = math.NaN() }
	find := func(r *row, name string) *operand {
		for _, o := range r.operands {
			if o.name == name {
				return o
			}
		}
		panic("optest: no operand " + name)
	}
	for _, a := range activations {
		add("ActForward", a.name, func(r *row) {
			x, y := r.in("x", normal(1), 3, 37), r.out("out", 3, 37)
			poisoned(x, 40)
			poisoned(x, 110)
			r.call = func(b kernels.Backend) { b.ActForward(y.t, x.t, a.act) }
			r.bound = func() { each(y, func(i int) float64 { return actErr(a.act, x.val[i], y.want[i]) }) }
		})
	}
	for _, c := range []gemmCase{{m: 19, n: 34, k: 21}, {m: 19, n: 34, k: 21, transB: true}, {m: 19, n: 34, k: 21, transA: true}} {
		add("Gemm", letter(c.transA)+letter(c.transB), func(r *row) {
			c.build(r)
			poisoned(find(r, "A"), 100)
		})
	}
	add("LayerNorm", "one row", func(r *row) {
		layerNorm(normal(1), 1e-6)(r, shape2{5, 37})
		poisoned(find(r, "x"), 80)
	})
	add("SwiGLU", "gate and value", func(r *row) {
		swiglu(r, shape2{2, 33})
		poisoned(find(r, "x"), 5)
		poisoned(find(r, "x"), 120)
	})
	add("Attention", "one sequence", func(r *row) {
		c := attentionCase{lengths: []int{5, 17, 33}, heads: 2, d: 16, spread: 1}
		c.forward(r)
		poisoned(find(r, "QKV"), 7*96+2*16+3) // a key of head 0 in the second sequence
	})
	add("RowLogSumExp", "one row", func(r *row) {
		newLogits(r, shape2{4, 70}, 1, 10, true).rowLogSumExp(r)
		poisoned(find(r, "x"), 150)
	})
	add("CrossEntropy", "one student", func(r *row) {
		crossCase{students: 4, teachers: 2, prototypes: 70, pairs: 2, centred: true}.build(r)
		poisoned(find(r, "S"), 140)
	})
	add("GradSquares", "one gradient", func(r *row) {
		gradSquares([]int{17, 33, 40})(r)
		poisoned(find(r, "[1].Grad"), 12)
	})
	return list
}
