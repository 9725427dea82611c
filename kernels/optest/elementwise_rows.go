package optest

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

func elementwiseRows() []*spec {
	var list []*spec
	vectors := []shape2{{1, 4099}}
	for _, e := range edges {
		vectors = append(vectors, shape2{1, e})
	}
	big := shape2{1024, 4096}

	fill := func(r *row, s shape2) {
		x := r.out("dst", s.rows, s.cols)
		r.call = func(b kernels.Backend) { b.Fill(x.t, -0.3) }
	}
	list = append(list, rowsOf("Fill", 1, vectors, fill)...)
	list = append(list, benchOf("Fill", 0, big, fill)...)
	list = append(list, copyRows(vectors, big)...)

	for _, types := range [][2]tensor.DType{{tensor.F32, tensor.F32}, {tensor.F32, tensor.BF16}, {tensor.BF16, tensor.F32}} {
		list = append(list, named(types[0].String()+types[1].String(), rowsOf("Axpy", 2, vectors, axpy(types[0], types[1])))...)
	}
	list = append(list, rowsOf("Axpy", 2, vectors, func(r *row, s shape2) { axpy(r.dtype, r.dtype)(r, s) })...)
	list = append(list, benchOf("Axpy", 2, big, func(r *row, s shape2) { axpy(r.dtype, r.dtype)(r, s) })...)

	scale := func(a float64) func(r *row, s shape2) {
		return func(r *row, s shape2) {
			x := r.inout("x", r.dtype, wild(30), s.rows, s.cols)
			r.call = func(b kernels.Backend) { b.Scale(x.t, a) }
			r.bound = func() { each(x, func(i int) float64 { return 2 * u * math.Abs(x.want[i]) }) }
		}
	}
	list = append(list, rowsOf("Scale", 1, vectors, scale(0.7))...)
	list = append(list, benchOf("Scale", 1, big, scale(-1))...)

	for _, which := range []string{"row", "col", "rowcol"} {
		list = append(list, named(which, rowsOf("ScaleRowsCols", 2, matrices(), scaleRowsCols(which, false)))...)
	}
	list = append(list, named("in place", rowsOf("ScaleRowsCols", 2, matrices()[:12], scaleRowsCols("rowcol", true)))...)
	list = append(list, benchOf("ScaleRowsCols", 2, big, scaleRowsCols("rowcol", false))...)

	for _, p := range []float64{0, 0.1, 0.75} {
		list = append(list, named(fmt.Sprint("p", p), rowsOf("Dropout", 12, vectors, dropout(p, false)))...)
	}
	list = append(list, named("in place", rowsOf("Dropout", 12, vectors[:5], dropout(0.5, true)))...)
	return append(list, benchOf("Dropout", 12, big, dropout(0.1, false))...)
}

// named puts a word before the names of rows.
func named(word string, list []*spec) []*spec {
	for _, s := range list {
		s.name = word + "/" + s.name
	}
	return list
}

// each fills an operand's bounds element by element.
func each(o *operand, bound func(i int) float64) {
	for i := range o.err {
		o.err[i] = bound(i)
	}
}

// Copying must give the exact rounding, so Copy has no bound.
func copyRows(vectors []shape2, big shape2) []*spec {
	var list []*spec
	for _, types := range [][2]tensor.DType{{tensor.F32, tensor.F32}, {tensor.BF16, tensor.BF16}, {tensor.BF16, tensor.F32}, {tensor.F32, tensor.BF16}} {
		build := func(r *row, s shape2) {
			src := r.inAs("src", types[1], wild(60), s.rows, s.cols)
			ties(src)
			dst := r.add("dst", out, types[0], nil, []int{s.rows, s.cols})
			r.call = func(b kernels.Backend) { b.Copy(dst.t, src.t) }
		}
		word := types[1].String() + "to" + types[0].String()
		list = append(list, named(word, rowsOf("Copy", 1, vectors, build))...)
		list = append(list, named(word, benchOf("Copy", 0, big, build))...)
	}
	return append(list, &spec{op: "Copy", name: "i32", work: 33, build: func(r *row) {
		src := r.index("src", []int32{-1, 7, math.MaxInt32, math.MinInt32, 0}, 5)
		dst := r.add("dst", out, tensor.I32, func(*tensor.Rand) float64 { return 3 }, []int{5})
		r.call = func(b kernels.Backend) { b.Copy(dst.t, src.t) }
	}})
}

// ties puts values that lie half way between two bf16, and special ones, at the front of an f32 operand.
func ties(o *operand) {
	for i, v := range []float64{1 + 0x1p-8, 1 + 3*0x1p-8, -1 - 0x1p-8, 1 + 0x1p-8 + 0x1p-23, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat32, 0x1p-130} {
		if j := 2 * i; j < len(o.val) {
			o.val[j] = round(o.dtype, v)
		}
	}
}

func axpy(yType, xType tensor.DType) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		const a = -1.7
		x := r.inAs("x", xType, wild(20), s.rows, s.cols)
		y := r.inout("y", yType, wild(20), s.rows, s.cols)
		r.call = func(b kernels.Backend) { b.Axpy(y.t, a, x.t) }
		r.bound = func() {
			each(y, func(i int) float64 { return 3 * u * (math.Abs(a*x.val[i]) + math.Abs(y.val[i])) })
		}
	}
}

func scaleRowsCols(which string, inPlace bool) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		var x, y, rows, cols *operand
		if inPlace {
			x = r.inout("x", r.dtype, wild(10), s.rows, s.cols)
			y = x
		} else {
			x = r.in("x", wild(10), s.rows, s.cols)
			y = r.out("out", s.rows, s.cols)
		}
		if which != "col" {
			rows = r.param("row", normal(2), s.rows)
		}
		if which != "row" {
			cols = r.param("col", normal(1e-3), s.cols)
		}
		r.call = func(b kernels.Backend) { b.ScaleRowsCols(y.t, x.t, tensorOf(rows), tensorOf(cols)) }
		r.bound = func() { each(y, func(i int) float64 { return 4 * u * math.Abs(y.want[i]) }) }
	}
}

// The mask is exact: what is dropped must be 0.
func dropout(p float64, inPlace bool) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		var x, y *operand
		if inPlace {
			x = r.inout("x", r.dtype, normal(3), s.rows, s.cols)
			y = x
		} else {
			x = r.in("x", normal(3), s.rows, s.cols)
			y = r.out("out", s.rows, s.cols)
		}
		r.call = func(b kernels.Backend) { b.Dropout(y.t, x.t, p, 0x9e3779b97f4a7c15, 5) }
		r.bound = func() { each(y, func(i int) float64 { return 3 * u * math.Abs(y.want[i]) }) }
	}
}
