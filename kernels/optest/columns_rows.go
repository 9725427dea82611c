package optest

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
)

func colSumRows() []*spec {
	shapes := append(matrices(), shape2{1025, 3}, shape2{700, 40})
	big := shape2{1576, 1536}
	list := rowsOf("ColSum", 1, shapes, colSum(-0.25, false, false))
	list = append(list, named("accumulate", rowsOf("ColSum", 1, shapes[:20], colSum(1, true, false)))...)
	list = append(list, named("wide", rowsOf("ColSum", 1, shapes[8:20], colSum(1, true, true)))...)
	return append(list, benchOf("ColSum", 1, big, colSum(1, false, true))...)
}

// columnSums is Σ_r f(r,c) for each column.
func columnSums(s shape2, f func(i int) float64) []float64 {
	sums := make([]float64, s.cols)
	for i := range s.rows * s.cols {
		sums[i%s.cols] += f(i)
	}
	return sums
}

func colSum(scale float64, accumulate, wide bool) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		x := r.in("x", around(0.5, 2), s.rows, s.cols)
		dtype := r.paramType()
		if wide {
			dtype = r.statType()
		}
		y := r.sum("out", dtype, accumulate, s.cols)
		r.call = func(b kernels.Backend) { b.ColSum(y.t, x.t, scale, accumulate) }
		r.bound = func() {
			size := columnSums(s, func(i int) float64 { return math.Abs(scale * x.val[i]) })
			each(y, func(c int) float64 { return (gamma(s.rows)+2*u)*size[c] + u*before(y, c) })
		}
	}
}

// before is the magnitude of what an accumulated operand held, 0 for one that is overwritten.
func before(o *operand, i int) float64 {
	if o.role == inout {
		return math.Abs(o.val[i])
	}
	return 0
}

func layerScaleRows() []*spec {
	list := rowsOf("LayerScaleBackward", 3, matrices(), layerScale(true, true, false))
	list = append(list, named("wide", rowsOf("LayerScaleBackward", 3, matrices()[:16], layerScale(true, true, true)))...)
	list = append(list, named("no bias", rowsOf("LayerScaleBackward", 3, matrices()[:8], layerScale(true, false, false)))...)
	list = append(list, named("frozen", rowsOf("LayerScaleBackward", 3, matrices()[:8], layerScale(false, false, false)))...)
	list = append(gradients(list), benchOf("LayerScaleBackward", 3, shape2{384, 1536}, layerScale(true, true, true))...)
	return list
}

func layerScale(dw, bias, wide bool) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		wideType := r.dtype
		if wide {
			wideType = r.statType()
		}
		g := r.inAs("g", wideType, normal(2), s.rows, s.cols)
		w := r.in("w", normal(0.3), s.rows, s.cols)
		scale := r.param("gamma", normal(0.1), s.rows)
		dscale := r.inout("dgamma", wideType, normal(1), s.rows)
		var c, b, db, dws *operand
		if bias {
			c = r.inAs("c", wideType, normal(2), s.rows)
			b = r.param("b", normal(1), s.rows)
			db = r.inout("db", wideType, normal(1), s.rows)
		}
		if dw {
			dws = r.inout("dw", wideType, normal(1), s.rows, s.cols)
		}
		r.call = func(be kernels.Backend) {
			be.LayerScaleBackward(tensorOf(dws), tensorOf(db), dscale.t, g.t, tensorOf(c), w.t, tensorOf(b), scale.t)
		}
		r.bound = func() {
			for n := range s.rows {
				size := 0.0
				for i := n * s.cols; i < (n+1)*s.cols; i++ {
					size += math.Abs(w.val[i] * g.val[i])
					if dws != nil {
						dws.err[i] = u * (2*math.Abs(scale.val[n]*g.val[i]) + math.Abs(dws.val[i]))
					}
				}
				dscale.err[n] = (gamma(s.cols)+2*u)*size + u*math.Abs(dscale.val[n])
				if bias {
					dscale.err[n] += 3 * u * math.Abs(b.val[n]*c.val[n])
					db.err[n] = u * (2*math.Abs(scale.val[n]*c.val[n]) + math.Abs(db.val[n]))
				}
			}
		}
	}
}

func reductionRows() []*spec {
	var list []*spec
	vectors := []shape2{{1, 4099}, {7, 9001}}
	for _, e := range edges {
		vectors = append(vectors, shape2{1, e})
	}
	big := shape2{1024, 4096}
	list = append(list, rowsOf("Sum", 1, vectors, sum(0.125, false))...)
	list = append(list, named("accumulate", rowsOf("Sum", 1, vectors[:9], sum(-3, true)))...)
	list = append(list, benchOf("Sum", 1, big, sum(1, false))...)
	list = append(list, &spec{op: "Sum", name: "infinite", work: 100, build: func(r *row) {
		x := r.in("x", normal(1), 100)
		x.val[67] = math.Inf(-1)
		y := r.outStat("out", 1)
		r.call = func(b kernels.Backend) { b.Sum(y.t, x.t, 1, false) }
	}}, &spec{op: "Sum", name: "not a number", work: 100, build: func(r *row) {
		x := r.in("x", normal(1), 100)
		x.val[99] = math.NaN()
		y := r.outStat("out", 1)
		r.call = func(b kernels.Backend) { b.Sum(y.t, x.t, 1, false) }
	}})
	list = append(list, rowsOf("MSE", 5, vectors, mse)...)
	list = append(list, benchOf("MSE", 5, big, mse)...)
	list = append(list, rowsOf("ColMoments", kernels.ColMomentsFLOPs, matrices(), colMoments)...)
	return append(list, benchOf("ColMoments", kernels.ColMomentsFLOPs, shape2{1576, 1536}, colMoments)...)
}

func sum(scale float64, accumulate bool) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		x := r.in("x", around(0.1, 2), s.rows, s.cols)
		y := r.sum("out", r.statType(), accumulate, 1)
		r.call = func(b kernels.Backend) { b.Sum(y.t, x.t, scale, accumulate) }
		r.bound = func() {
			size := 0.0
			for _, v := range x.val {
				size += math.Abs(scale * v)
			}
			y.err[0] = (gamma(len(x.val))+2*u)*size + u*before(y, 0)
		}
	}
}

func mse(r *row, s shape2) {
	a := r.in("a", around(3, 1), s.rows, s.cols)
	b := r.in("b", around(3, 1), s.rows, s.cols)
	loss := r.outStat("loss", 1)
	da := r.out("da", s.rows, s.cols)
	r.call = func(be kernels.Backend) { be.MSE(loss.t, da.t, a.t, b.t, 0.7) }
	r.bound = func() {
		loss.err[0] = (gamma(len(a.val)) + 6*u) * loss.want[0]
		each(da, func(i int) float64 { return 4 * u * math.Abs(da.want[i]) })
	}
}

// The mean is far from zero in half of the columns: a variance taken as E[x²]-E[x]² would be lost.
func colMoments(r *row, s shape2) {
	x := r.in("x", normal(1), s.rows, s.cols)
	for i := range x.val {
		if i%s.cols%2 == 1 {
			x.val[i] = round(x.dtype, x.val[i]+200)
		}
	}
	mean, variance := r.outStat("mean", s.cols), r.outStat("variance", s.cols)
	r.call = func(b kernels.Backend) { b.ColMoments(mean.t, variance.t, x.t) }
	r.bound = func() {
		size := columnSums(s, func(i int) float64 { return math.Abs(x.val[i]) / float64(s.rows) })
		each(mean, func(c int) float64 { return (gamma(s.rows) + 2*u) * size[c] })
		each(variance, func(c int) float64 {
			return (gamma(s.rows)+8*u)*variance.want[c] + 4*mean.err[c]*mean.err[c]
		})
	}
}
