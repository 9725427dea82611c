package optest

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

func normRows() []*spec {
	shapes := matrices()
	big := shape2{1576, 384}
	var list []*spec
	list = append(list, rowsOf("LayerNorm", kernels.LayerNormFLOPs, shapes, layerNorm(normal(1), 1e-6))...)
	list = append(list, named("offset", rowsOf("LayerNorm", kernels.LayerNormFLOPs, shapes[:24], layerNorm(around(300, 1), 1e-5)))...)
	list = append(list, named("constant", rowsOf("LayerNorm", kernels.LayerNormFLOPs, shapes[10:16], layerNorm(uniform(2, 2), 1e-6)))...)
	list = append(list, named("wild", rowsOf("LayerNorm", kernels.LayerNormFLOPs, shapes[10:24], layerNorm(wild(25), 1e-6)))...)
	list = append(list, benchOf("LayerNorm", kernels.LayerNormFLOPs, big, layerNorm(normal(1), 1e-6))...)

	list = append(list, gradients(rowsOf("LayerNormBackward", kernels.LayerNormBackwardFLOPs, shapes, layerNormBackward(false, false)))...)
	// Several stripes of rows, several rows beside each other, and the widest row of 16-byte vectors and one beyond.
	striped := []shape2{{70, 16}, {66, 40}, {9, 264}, {2, 1032}, {1, 2048}, {1, 2056}, {1, 4096}, {1, 4104}, {300, 24}}
	list = append(list, gradients(named("striped", rowsOf("LayerNormBackward", kernels.LayerNormBackwardFLOPs, striped, layerNormBackward(true, false))))...)
	list = append(list, gradients(named("accumulate", rowsOf("LayerNormBackward", kernels.LayerNormBackwardFLOPs, shapes[:20], layerNormBackward(true, false))))...)
	list = append(list, gradients(named("frozen", rowsOf("LayerNormBackward", kernels.LayerNormBackwardFLOPs, shapes[:8], layerNormBackward(false, true))))...)
	list = append(list, benchOf("LayerNormBackward", kernels.LayerNormBackwardFLOPs, big, layerNormBackward(true, false))...)

	list = append(list, rowsOf("L2Normalize", kernels.L2NormalizeFLOPs, shapes, l2Normalize)...)
	list = append(list, benchOf("L2Normalize", kernels.L2NormalizeFLOPs, big, l2Normalize)...)
	list = append(list, gradients(rowsOf("L2NormalizeBackward", kernels.L2NormalizeBackwardFLOPs, shapes, l2NormalizeBackward))...)
	list = append(list, benchOf("L2NormalizeBackward", kernels.L2NormalizeBackwardFLOPs, big, l2NormalizeBackward)...)

	list = append(list, rowsOf("WeightNorm", kernels.WeightNormFLOPs, shapes, weightNorm(true))...)
	list = append(list, named("unit", rowsOf("WeightNorm", kernels.WeightNormFLOPs, shapes[:12], weightNorm(false)))...)
	list = append(list, benchOf("WeightNorm", kernels.WeightNormFLOPs, shape2{16384, 256}, weightNorm(true))...)
	list = append(list, gradients(rowsOf("WeightNormBackward", kernels.WeightNormBackwardFLOPs, shapes, weightNormBackward(true)))...)
	list = append(list, gradients(named("frozen", rowsOf("WeightNormBackward", kernels.WeightNormBackwardFLOPs, shapes[:12], weightNormBackward(false))))...)
	// Weights and their gradient need not have the same type.
	working := func(r *row) tensor.DType { return r.dtype }
	list = append(list, gradients(named("f32 gradient", rowsOf("WeightNormBackward", kernels.WeightNormBackwardFLOPs, shapes[:20], weightNormBackwardOf(true, working, (*row).statType))))...)
	list = append(list, gradients(named("f32 weights", rowsOf("WeightNormBackward", kernels.WeightNormBackwardFLOPs, shapes[:20], weightNormBackwardOf(true, (*row).statType, working))))...)
	return append(list, benchOf("WeightNormBackward", kernels.WeightNormBackwardFLOPs, shape2{16384, 256}, weightNormBackward(true))...)
}

func layerNorm(src source, eps float64) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		x := r.in("x", src, s.rows, s.cols)
		scale, shift := r.param("gamma", around(1, 0.5), s.cols), r.param("beta", normal(1), s.cols)
		y, mean, rstd := r.out("y", s.rows, s.cols), r.outStat("mean", s.rows), r.outStat("rstd", s.rows)
		r.call = func(b kernels.Backend) {
			b.LayerNorm(y.t, mean.t, rstd.t, x.t, scale.t, shift.t, eps)
		}
		r.bound = func() {
			for n := range s.rows {
				at, size := n*s.cols, 0.0
				for c := range s.cols {
					size += math.Abs(x.val[at+c]) / float64(s.cols)
				}
				mu, rs := mean.want[n], rstd.want[n]
				em := (gamma(s.cols) + 2*u) * size
				variance := math.Max(0, 1/(rs*rs)-eps)
				ev := (gamma(s.cols)+8*u)*variance + 4*em*em + 2*u*eps
				er := rs*rs*rs*ev/2 + 4*u*rs
				mean.err[n], rstd.err[n] = em, er
				for c := range s.cols {
					d := math.Abs(x.val[at+c] - mu)
					y.err[at+c] = math.Abs(scale.val[c])*(rs*(em+u*d)+d*er+3*u*d*rs) + u*math.Abs(shift.val[c])
				}
			}
		}
	}
}

func layerNormBackward(accumulate, frozen bool) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		x, dy := r.in("x", around(1, 2), s.rows, s.cols), r.in("dy", normal(1), s.rows, s.cols)
		mean, rstd := r.stat("mean", around(1, 0.2), s.rows), r.stat("rstd", uniform(0.3, 0.8), s.rows)
		scale := r.param("gamma", around(1, 0.5), s.cols)
		dx := r.sum("dx", r.dtype, accumulate, s.rows, s.cols)
		var dscale, dshift *operand
		if !frozen {
			dscale = r.inout("dgamma", r.paramType(), normal(1), s.cols)
			dshift = r.inout("dbeta", r.paramType(), normal(1), s.cols)
		}
		r.call = func(b kernels.Backend) {
			b.LayerNormBackward(dx.t, tensorOf(dscale), tensorOf(dshift), dy.t, x.t, mean.t, rstd.t, scale.t, accumulate)
		}
		r.bound = func() {
			xhat := func(i int) (v, e float64) {
				n := i / s.cols
				v = math.Abs((x.val[i] - mean.val[n]) * rstd.val[n])
				return v, 3*u*v + 2*u*math.Abs(mean.val[n]*rstd.val[n])
			}
			for n := range s.rows {
				at := n * s.cols
				sumG, sumGX, eg, egx := 0.0, 0.0, 0.0, 0.0
				for c := range s.cols {
					g := math.Abs(dy.val[at+c]*scale.val[c]) / float64(s.cols)
					v, e := xhat(at + c)
					sumG += g
					sumGX += g * v
					eg += 2 * u * g
					egx += g * (e + 3*u*v)
				}
				eg += gamma(s.cols) * sumG
				egx += gamma(s.cols) * sumGX
				for c := range s.cols {
					v, e := xhat(at + c)
					g := math.Abs(dy.val[at+c] * scale.val[c])
					dx.err[at+c] = rstd.val[n]*(eg+v*egx+e*sumGX+4*u*(g+sumG+v*sumGX)) + u*before(dx, at+c)
				}
			}
			if frozen {
				return
			}
			size := columnSums(s, func(i int) float64 { v, _ := xhat(i); return math.Abs(dy.val[i]) * v })
			loss := columnSums(s, func(i int) float64 { _, e := xhat(i); return math.Abs(dy.val[i]) * e })
			plain := columnSums(s, func(i int) float64 { return math.Abs(dy.val[i]) })
			each(dscale, func(c int) float64 { return (gamma(s.rows)+2*u)*size[c] + loss[c] + u*before(dscale, c) })
			each(dshift, func(c int) float64 { return (gamma(s.rows)+u)*plain[c] + u*before(dshift, c) })
		}
	}
}

// Rows of three sizes: large, small but above eps, and below it.
func l2Normalize(r *row, s shape2) {
	const eps = 1e-6
	x := r.in("x", normal(1), s.rows, s.cols)
	for i := range x.val {
		scale := []float64{1, 1e6, 1e-12, 1e-4}[(i/s.cols)%4]
		x.val[i] = round(x.dtype, x.val[i]*scale)
	}
	y, norm := r.out("y", s.rows, s.cols), r.outStat("norm", s.rows)
	r.call = func(b kernels.Backend) { b.L2Normalize(y.t, norm.t, x.t, eps) }
	r.bound = func() {
		rel := gamma(s.cols)/2 + 4*u
		each(norm, func(n int) float64 { return rel * norm.want[n] })
		each(y, func(i int) float64 { return (rel + 2*u) * math.Abs(y.want[i]) })
	}
}

func l2NormalizeBackward(r *row, s shape2) {
	const eps = 1e-6
	y, dy := r.in("y", normal(1/math.Sqrt(float64(s.cols))), s.rows, s.cols), r.in("dy", normal(1), s.rows, s.cols)
	norm := r.stat("norm", uniform(0.5, 20), s.rows)
	limit := eps
	for n := range norm.val {
		if n%4 == 2 {
			norm.val[n] = round(norm.dtype, eps)
		}
	}
	dx := r.out("dx", s.rows, s.cols)
	r.call = func(b kernels.Backend) {
		// The forward pass stores eps in the type of norm; the f64 oracle is given what f32 makes of it.
		limit = eps
		if norm.t.DType() != norm.dtype {
			limit = round(norm.dtype, eps)
		}
		b.L2NormalizeBackward(dx.t, dy.t, y.t, norm.t, limit)
	}
	r.bound = func() {
		for n := range s.rows {
			at, size, along := n*s.cols, 0.0, 0.0
			for c := range s.cols {
				size += math.Abs(y.val[at+c] * dy.val[at+c])
				along += y.val[at+c] * dy.val[at+c]
			}
			if n%4 == 2 {
				size, along = 0, 0
			}
			for c := range s.cols {
				v := math.Abs(y.val[at+c])
				dx.err[at+c] = (v*(gamma(s.cols)+u)*size + 3*u*(math.Abs(dy.val[at+c])+v*math.Abs(along))) / norm.val[n]
			}
		}
	}
}

func weightNorm(withGain bool) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		v := r.param("v", normal(0.02), s.rows, s.cols)
		var gain *operand
		if withGain {
			gain = r.param("gain", around(1, 0.3), s.rows)
		}
		w, norm := r.out("w", s.rows, s.cols), r.outStat("norm", s.rows)
		r.call = func(b kernels.Backend) { b.WeightNorm(w.t, norm.t, v.t, tensorOf(gain)) }
		r.bound = func() {
			rel := gamma(s.cols)/2 + 4*u
			each(norm, func(n int) float64 { return rel * norm.want[n] })
			each(w, func(i int) float64 { return (rel + 3*u) * math.Abs(w.want[i]) })
		}
	}
}

func weightNormBackward(withGain bool) func(r *row, s shape2) {
	return weightNormBackwardOf(withGain, (*row).paramType, (*row).paramType)
}

// weightNormBackwardOf chooses the types of v and dv.
func weightNormBackwardOf(withGain bool, vType, dvType func(*row) tensor.DType) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		v, dw := r.inAs("v", vType(r), normal(0.5), s.rows, s.cols), r.in("dw", normal(1), s.rows, s.cols)
		norm := r.stat("norm", uniform(0.5, 20), s.rows)
		for n := range s.rows {
			size := 0.0
			for _, x := range v.val[n*s.cols : (n+1)*s.cols] {
				size += x * x
			}
			norm.val[n] = round(norm.dtype, math.Max(math.Sqrt(size), 1e-3))
		}
		dv := r.inout("dv", dvType(r), normal(1), s.rows, s.cols)
		var gain, dgain *operand
		if withGain {
			gain, dgain = r.param("gain", around(1, 0.3), s.rows), r.inout("dgain", r.paramType(), normal(1), s.rows)
		}
		r.call = func(b kernels.Backend) {
			b.WeightNormBackward(dv.t, tensorOf(dgain), dw.t, v.t, tensorOf(gain), norm.t)
		}
		r.bound = func() {
			for n := range s.rows {
				at, size, along := n*s.cols, 0.0, 0.0
				for c := range s.cols {
					size += math.Abs(v.val[at+c]*dw.val[at+c]) / norm.val[n]
					along += v.val[at+c] * dw.val[at+c] / norm.val[n]
				}
				f := 1 / norm.val[n]
				if withGain {
					f *= math.Abs(gain.val[n])
					dgain.err[n] = (gamma(s.cols)+4*u)*size + u*before(dgain, n)
				}
				for c := range s.cols {
					x := math.Abs(v.val[at+c]) / norm.val[n]
					dv.err[at+c] = f*(x*(gamma(s.cols)+4*u)*size+5*u*(math.Abs(dw.val[at+c])+x*math.Abs(along))) + u*before(dv, at+c)
				}
			}
		}
	}
}
