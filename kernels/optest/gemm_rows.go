package optest

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/kernels"
)

// gemmCase is a matrix product with one choice of layout and epilogue.
type gemmCase struct {
	m, n, k        int
	transA, transB bool
	aCol, bCol     int  // columns before A's and B's stretch; as many again follow
	even           bool // rows of A and B begin on multiples of eight elements; what lies beside the stretches is NaN
	outCol         int
	alpha          float64
	accumulate     bool
	bias, pre      bool
	act            kernels.Activation
	actGrad        kernels.Activation
	gradOf         bool
	residual       bool
	inPlace        bool // the residual is Out
	gamma          bool
	rowScale       bool
	wide           bool // Out is f32 whatever the working type
	mixed          bool // parameters are f32 whatever the working type, and no row's choice
}

func gemmRows() []*spec {
	list := append(colSumRows(), layerScaleRows()...)
	add := func(name string, c gemmCase) *spec {
		s := &spec{op: "Gemm", work: kernels.GemmFLOPs(c.m, c.n, c.k), build: c.build}
		s.name = fmt.Sprintf("%s/%s%s/%dx%dx%d", name, letter(c.transA), letter(c.transB), c.m, c.n, c.k)
		list = append(list, s)
		return s
	}
	layouts := []gemmCase{{}, {transB: true}, {transA: true}, {transA: true, transB: true}}
	for i, e := range edges {
		next, other := edges[(i+5)%len(edges)], edges[(i+9)%len(edges)]
		for j, c := range layouts {
			c.m, c.n, c.k = e, e, e
			add("cube", c)
			// Each dimension takes every edge while the two others vary.
			dims := [3]int{e, next, other}
			c.m, c.n, c.k = dims[j%3], dims[(j+1)%3], dims[(j+2)%3]
			add("mixed", c)
		}
	}
	for _, c := range layouts {
		c.m, c.n, c.k = 2, 3, 1500
		add("deep", c)
		c.m, c.n, c.k = 300, 257, 70
		add("large", c)
		// Past the blocks of a packed product: two of K with more than one of M, and one of N.
		c.m, c.n, c.k = 150, 40, 520
		add("blocks", c)
		c.m, c.n, c.k = 9, 3100, 33
		add("blocks", c)
		c.m, c.n, c.k = 1, 385, 96
		add("row", c)
		c.m, c.n, c.k = 261, 1, 96
		add("column", c)
		c.m, c.n, c.k = 5, 6, 0
		add("empty sum", c)
		c.m, c.n, c.k = 0, 6, 5
		add("no rows", c)
	}
	// What tensor cores take, in all layouts: an f32 output, and a sum long enough to be cut.
	for _, c := range layouts {
		c.m, c.n, c.k, c.wide = 24, 40, 72, true
		add("wide", c)
	}
	add("cut", gemmCase{m: 24, n: 16, k: 2056, transA: true})
	add("wide cut", gemmCase{m: 24, n: 16, k: 2056, transA: true, wide: true})
	add("cut", gemmCase{m: 24, n: 15, k: 2056, transB: true})             // rows of the result that vectors do not divide
	add("cut", gemmCase{m: 24, n: 18, k: 2056, transA: true, even: true}) // a width that is no multiple of four
	for _, c := range gemmEpilogues() {
		for _, dims := range [][3]int{{1, 1, 1}, {5, 17, 9}, {33, 65, 31}, {130, 67, 40}, {7, 33, 600}} {
			for _, transB := range []bool{false, true} {
				c.gemmCase.m, c.gemmCase.n, c.gemmCase.k, c.gemmCase.transB = dims[0], dims[1], dims[2], transB
				add(c.name, c.gemmCase)
			}
		}
	}
	for _, c := range layouts {
		c.m, c.n, c.k, c.aCol, c.bCol, c.outCol = 19, 34, 21, 3, 16, 5
		add("columns", c)
		c.accumulate, c.gamma, c.residual, c.bias = true, true, true, true
		add("columns, epilogue", c)
	}
	// Rows and first columns on 16-byte boundaries whatever the sizes: what copies in whole chunks and tensor maps want.
	for i, e := range edges {
		for j, c := range layouts {
			dims := [3]int{e, edges[(i+3)%len(edges)], edges[(i+8)%len(edges)]}
			c.m, c.n, c.k, c.even = dims[j%3], dims[(j+1)%3], dims[(j+2)%3], true
			add("even", c)
		}
	}
	// Every epilogue in every layout: they are kernels of their own. With K cut it is another kernel that finishes.
	for _, c := range gemmEpilogues() {
		for _, l := range layouts {
			c.gemmCase.m, c.gemmCase.n, c.gemmCase.k, c.gemmCase.even = 18, 36, 24, true
			c.gemmCase.transA, c.gemmCase.transB = l.transA, l.transB
			add("even, "+c.name, c.gemmCase)
		}
	}
	// Three steps of 64 in K, from which on version 3 takes its narrower tile.
	for i, c := range gemmEpilogues() {
		for _, n := range []int{36, 37} {
			c.gemmCase.m, c.gemmCase.n, c.gemmCase.k, c.gemmCase.even = 18, n, 136, true
			c.gemmCase.transA, c.gemmCase.transB = layouts[i%4].transA, layouts[i%4].transB
			add("even, "+c.name, c.gemmCase)
		}
	}
	for _, a := range activations[1:] {
		for _, n := range []int{12, 13} {
			add("cut, "+a.name, gemmCase{m: 9, n: n, k: 2056, transB: true, even: true, bias: true, pre: true, act: a.act, gradOf: true, actGrad: a.act,
				residual: true, gamma: true, rowScale: true, accumulate: true})
		}
	}
	for i, c := range layouts {
		c.even, c.aCol, c.bCol = true, 8, 16
		c.m, c.n, c.k = 140-i, 261+i, 193-i // more than one tile in each direction
		add("even", c)
		c.m, c.n, c.k = 9+i, 130+i, 1100-i // K is cut
		add("even", c)
		c.m, c.n, c.k, c.outCol = 61+i, 60, 77-i, 4
		c.bias, c.pre, c.act, c.gradOf, c.actGrad = true, true, kernels.GELU, true, kernels.GELU
		c.residual, c.gamma, c.rowScale, c.accumulate = true, true, true, true
		add("even, everything", c)
		c.n++
		add("even, everything", c)
		c.n, c.wide, c.bias, c.gamma, c.rowScale = 72, true, false, false, false // an f32 output wants f32 parameters
		add("even, wide", c)
	}
	for _, c := range tiledGemms(layouts) {
		add("tiled, "+c.name, c.gemmCase)
	}
	for _, c := range []gemmCase{
		{m: 1576, n: 1152, k: 384, transB: true, bias: true},
		{m: 1576, n: 1536, k: 384, transB: true, bias: true, act: kernels.GELU, pre: true},
		{m: 1576, n: 384, k: 1536, transB: true, bias: true, residual: true, gamma: true},
		{m: 1576, n: 384, k: 1152},
		{m: 384, n: 1152, k: 1576, transA: true, wide: true, accumulate: true},
		{m: 512, n: 512, k: 512},
	} {
		add("bench", c).size = bench
		if c.transA {
			c.k /= 8
		} else {
			c.m /= 8
		}
		add("split", c).size = split
	}
	return list
}

func letter(transposed bool) string {
	if transposed {
		return "T"
	}
	return "N"
}

type namedGemm struct {
	name string
	gemmCase
}

func gemmEpilogues() []namedGemm {
	list := []namedGemm{
		{"alpha", gemmCase{alpha: -0.35}},
		{"accumulate", gemmCase{accumulate: true}},
		{"wide", gemmCase{wide: true}},
		{"wide, accumulate", gemmCase{wide: true, accumulate: true, alpha: 0.5}},
		{"bias", gemmCase{bias: true}},
		{"bias, pre, gelu", gemmCase{bias: true, pre: true, act: kernels.GELU}},
		{"bias, residual", gemmCase{bias: true, residual: true}},
		{"bias, residual, gamma", gemmCase{bias: true, residual: true, gamma: true}},
		{"bias, residual, gamma, row scale", gemmCase{bias: true, residual: true, gamma: true, rowScale: true}},
		{"in place", gemmCase{bias: true, residual: true, inPlace: true, gamma: true, rowScale: true}},
		{"row scale", gemmCase{rowScale: true}},
		{"everything", gemmCase{alpha: 1.5, bias: true, pre: true, act: kernels.SiLU, gradOf: true, actGrad: kernels.GELU, residual: true, gamma: true, rowScale: true, accumulate: true}},
	}
	for _, a := range activations[1:] {
		list = append(list,
			namedGemm{a.name, gemmCase{act: a.act, bias: true}},
			namedGemm{a.name + " backward", gemmCase{gradOf: true, actGrad: a.act}})
	}
	return list
}

// tiledGemms are the products that version 4 takes on a GPU: rows of every matrix begin on multiples of eight elements and
// the width is a multiple of eight. On one multiprocessor each of its widths of tiles is the best for some of them.
func tiledGemms(layouts []gemmCase) (list []namedGemm) {
	add := func(name string, c, layout gemmCase) {
		c.even, c.mixed, c.transA, c.transB = true, true, layout.transA, layout.transB
		list = append(list, namedGemm{name, c})
	}
	for i, c := range gemmEpilogues() {
		c.gemmCase.m, c.gemmCase.n, c.gemmCase.k = 83, 72, 72+8*(i%3) // both halves of a tile, the second in part
		add(c.name, c.gemmCase, layouts[(i+1)%4])
		c.gemmCase.m, c.gemmCase.n, c.gemmCase.k = 122, 248, 328 // more steps than the ring has stages
		add(c.name, c.gemmCase, layouts[i%4])
	}
	for i, l := range layouts {
		add("plain", gemmCase{m: 71 + i, n: 376, k: 392 - 8*i}, l)
		add("bias", gemmCase{m: 128, n: 136, k: 64, bias: true}, l)
		add("columns", gemmCase{m: 40, n: 136, k: 72, aCol: 8, bCol: 16, outCol: 8, bias: true, pre: true, act: kernels.GELU}, l)
		add("cut", gemmCase{m: 90 + i, n: 136 + 64*(i%2), k: 1096}, l)
		add("cut, wide, accumulate", gemmCase{m: 90 + i, n: 72, k: 1096, wide: true, accumulate: true}, l)
		add("many", gemmCase{m: 300, n: 200 + 88*(i%3), k: 72, bias: true}, l) // several tiles for each consumer
		add("many, residual", gemmCase{m: 300, n: 200 + 88*(i%3), k: 72, bias: true, residual: true, gamma: true, accumulate: i%2 == 1}, l)
		add("many, gelu backward", gemmCase{m: 300, n: 200, k: 72, gradOf: true, actGrad: kernels.GELU, accumulate: i%2 == 1}, l)
	}
	add("row of tiles", gemmCase{m: 8, n: 25344, k: 8, bias: true}, layouts[1])
	return list
}

func (c gemmCase) build(r *row) {
	r.flops = r.work
	r.mixed = r.mixed || c.mixed
	outType := r.dtype
	if c.wide {
		outType = r.statType()
	}
	wider := func(n, col int) int {
		if c.even {
			return (n + 2*col + 7) &^ 7
		}
		return n + 2*col
	}
	var a, b *operand
	if c.transA {
		a = r.in("A", normal(1), c.k, wider(c.m, c.aCol))
	} else {
		a = r.in("A", normal(1), c.m, wider(c.k, c.aCol))
	}
	if c.transB {
		b = r.in("B", normal(1), c.n, wider(c.k, c.bCol))
	} else {
		b = r.in("B", normal(1), c.k, wider(c.n, c.bCol))
	}
	if c.even {
		r.shifted = false
		a.only(c.aCol, map[bool]int{false: c.k, true: c.m}[c.transA])
		b.only(c.bCol, map[bool]int{false: c.n, true: c.k}[c.transB])
	}
	ldo := c.n + 2*c.outCol
	var bias, pre, gradOf, residual, scale, rowScale, y *operand
	if c.accumulate || c.inPlace || c.outCol > 0 {
		y = r.inout("Out", outType, normal(2), c.m, ldo)
	} else {
		y = r.add("Out", out, outType, nil, []int{c.m, ldo})
	}
	if c.bias {
		bias = r.param("Bias", normal(3), c.n)
	}
	if c.pre {
		pre = r.inout("Pre", r.dtype, normal(1), c.m, ldo)
	}
	if c.gradOf {
		gradOf = r.in("GradOf", normal(2), c.m, ldo)
	}
	if c.residual {
		residual = y
		if !c.inPlace {
			residual = r.inAs("Residual", outType, normal(4), c.m, ldo)
		}
	}
	if c.gamma {
		scale = r.param("Gamma", around(0.5, 0.3), c.n)
	}
	if c.rowScale {
		rowScale = r.param("RowScale", uniform(0, 2), c.m)
		for i := range rowScale.val {
			if i%3 == 1 {
				rowScale.val[i] = 0 // a sample whose branch is dropped
			}
		}
	}
	r.call = func(be kernels.Backend) {
		be.Gemm(kernels.Gemm{
			M: c.m, N: c.n, K: c.k, Out: y.t, A: a.t, B: b.t, TransA: c.transA, TransB: c.transB,
			ACol: c.aCol, BCol: c.bCol, OutCol: c.outCol, Alpha: c.alpha, Accumulate: c.accumulate,
			Bias: tensorOf(bias), Pre: tensorOf(pre), Act: c.act, ActGrad: c.actGrad, GradOf: tensorOf(gradOf),
			Residual: tensorOf(residual), Gamma: tensorOf(scale), RowScale: tensorOf(rowScale),
		})
	}
	r.bound = func() {
		// Every activation obeys |act(z)| <= |z|, so that the magnitude that meets in an element bounds each
		// term on the way to it.
		size := magnitudes(c, a, b)
		for m := range c.m {
			for n := range c.n {
				i := m*ldo + c.outCol + n
				v := size[m*c.n+n]
				e := (gamma(c.k) + 2*u) * v
				if bias != nil {
					v += math.Abs(bias.val[n])
					e += 2 * u * v
				}
				if pre != nil {
					pre.err[i] = e
				}
				if c.act != kernels.NoActivation {
					e = maxSlope*e + actErr(c.act, v, v)
				}
				if gradOf != nil {
					e = maxSlope*(e+u*v) + v*slopeErr(c.actGrad, gradOf.val[i])
					v *= maxSlope
				}
				if scale != nil {
					v *= math.Abs(scale.val[n])
					e = e*math.Abs(scale.val[n]) + u*v
				}
				if rowScale != nil {
					v *= math.Abs(rowScale.val[m])
					e = e*math.Abs(rowScale.val[m]) + u*v
				}
				if residual != nil {
					v += math.Abs(residual.val[i])
					e += u * v
				}
				if c.accumulate {
					e += u * (v + math.Abs(y.val[i]))
				}
				y.err[i] = e
			}
		}
	}
}

// only makes everything NaN but columns col to col+n of a matrix.
func (o *operand) only(col, n int) {
	for i := range o.val {
		if at := i % o.shape[1]; at < col || at >= col+n {
			o.val[i] = math.NaN()
		}
	}
}

// magnitudes is |alpha|·|op(A)|·|op(B)|.
func magnitudes(c gemmCase, a, b *operand) []float64 {
	size, row := make([]float64, c.m*c.n), make([]float64, c.n)
	columns := make([]float64, c.k*c.n)
	for k := range c.k {
		for n := range c.n {
			columns[k*c.n+n] = math.Abs(c.b(b, k, n))
		}
	}
	for m := range c.m {
		clear(row)
		for k := range c.k {
			v := math.Abs(c.factor() * c.a(a, m, k))
			for n, w := range columns[k*c.n : (k+1)*c.n] {
				row[n] += v * w
			}
		}
		copy(size[m*c.n:], row)
	}
	return size
}

func (c gemmCase) factor() float64 {
	if c.alpha == 0 {
		return 1
	}
	return c.alpha
}

func (c gemmCase) a(a *operand, m, k int) float64 {
	if c.transA {
		m, k = k, m
	}
	return a.val[m*a.shape[1]+c.aCol+k]
}

func (c gemmCase) b(b *operand, k, n int) float64 {
	if c.transB {
		k, n = n, k
	}
	return b.val[k*b.shape[1]+c.bCol+n]
}
