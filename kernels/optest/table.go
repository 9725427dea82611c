package optest

import "strconv"

// table is every row, by operation.
func table() []*spec {
	var t []*spec
	for _, family := range []func() []*spec{
		elementwiseRows, gemmRows, activationRows, normRows, attentionRows, gatherRows, prototypeRows, koleoRows,
		reductionRows, adamwRows, emptyRows, nanRows,
	} {
		t = append(t, family()...)
	}
	return t
}

// edges are sizes on both sides of the widths that kernels are cut into.
var edges = []int{1, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129}

// shape2 is the shape of a matrix.
type shape2 struct{ rows, cols int }

func (s shape2) String() string { return strconv.Itoa(s.rows) + "x" + strconv.Itoa(s.cols) }
func (s shape2) len() int64     { return int64(s.rows) * int64(s.cols) }

// matrices pairs every edge as a width with a few heights, and as a height with a few widths, and adds the widths of
// real models.
func matrices() []shape2 {
	var list []shape2
	heights := []int{1, 3, 5, 33}
	for i, e := range edges {
		list = append(list, shape2{heights[i%len(heights)], e}, shape2{e, heights[(i+1)%len(heights)]})
	}
	return append(list, shape2{2, 255}, shape2{3, 256}, shape2{2, 257}, shape2{5, 384}, shape2{2, 1000}, shape2{3, 1025}, shape2{1, 4099}, shape2{130, 67}, shape2{2, 1028})
}

// rowsOf makes one row of each shape for an operation whose work is flops an element.
func rowsOf(op string, flops int64, shapes []shape2, build func(r *row, s shape2)) []*spec {
	var list []*spec
	for _, s := range shapes {
		list = append(list, &spec{op: op, name: s.String(), work: s.len() * max(flops, 1), build: func(r *row) {
			r.flops = s.len() * flops
			build(r, s)
		}})
	}
	return list
}

// gradients marks rows as those of a backward operation.
func gradients(list []*spec) []*spec {
	for _, s := range list {
		s.gradient = true
	}
	return list
}

// benchOf is a row for Benchmark, large enough to leave the caches, and an eighth of it for Deterministic.
func benchOf(op string, flops int64, s shape2, build func(r *row, s shape2)) []*spec {
	list := rowsOf(op, flops, []shape2{s, {max(1, s.rows/8), s.cols}}, build)
	return sized(list[:1], list[1:])
}

// sized marks rows for Benchmark and for Deterministic.
func sized(large, medium []*spec) []*spec {
	for _, s := range large {
		s.size = bench
		s.name = "bench/" + s.name
	}
	for _, s := range medium {
		s.size = split
		s.name = "split/" + s.name
	}
	return append(large, medium...)
}
