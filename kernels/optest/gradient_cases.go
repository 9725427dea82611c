package optest

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/tensor"
)

// f64 makes an output of the oracle.
func f64(shape ...int) *tensor.Tensor { return tensor.Zeros(tensor.F64, shape...) }

func slopeCases() []*slopeCase {
	var list []*slopeCase
	for _, a := range activations {
		list = append(list, actSlope(a.name, a.act), gemmActSlope(a.name, a.act))
	}
	list = append(list, swigluSlope(), scaleSlope(), dropoutSlope())
	list = append(list, gemmSlope(false), gemmSlope(true), layerScaleSlope())
	list = append(list, layerNormSlope(false), layerNormSlope(true), l2Slope(), weightNormSlope(true), weightNormSlope(false))
	list = append(list, attentionSlope(), ropeSlope(), scatterSlope())
	return append(list, crossEntropySlope(), koleoSlope(), mseSlope())
}

func actSlope(name string, act kernels.Activation) *slopeCase {
	return &slopeCase{
		op: "ActBackward", name: name,
		variables: func(r *tensor.Rand) []*variable {
			return []*variable{draw(r, normal(2), 3, 7), weights(r, 3, 7)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			y := f64(3, 7)
			b.ActForward(y, v[0].tensor(), act)
			return weigh(y, v[1])
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			dx := d.zeros(3, 7)
			d.ActBackward(dx, d.up(v[1]), d.up(v[0]), act)
			return []*tensor.Tensor{dx, nil}
		},
	}
}

// gemmActSlope is out = act(x)·w: the gradient by x goes back through the activation in the epilogue of the product.
func gemmActSlope(name string, act kernels.Activation) *slopeCase {
	const m, n, k = 4, 5, 6
	return &slopeCase{
		op: "Gemm", name: "through " + name,
		variables: func(r *tensor.Rand) []*variable {
			w := draw(r, normal(1), k, n)
			w.fixed = true
			return []*variable{draw(r, normal(2), m, k), w, weights(r, m, n)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			h, y := f64(m, k), f64(m, n)
			b.ActForward(h, v[0].tensor(), act)
			b.Gemm(kernels.Gemm{M: m, N: n, K: k, A: h, B: v[1].tensor(), Out: y})
			return weigh(y, v[2])
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			dx := d.zeros(m, k)
			d.Gemm(kernels.Gemm{M: m, N: k, K: n, A: d.up(v[2]), B: d.up(v[1]), TransB: true, Out: dx, GradOf: d.up(v[0]), ActGrad: act})
			return []*tensor.Tensor{dx, nil, nil}
		},
	}
}

func swigluSlope() *slopeCase {
	return &slopeCase{
		op: "SwiGLUBackward", name: "rows",
		variables: func(r *tensor.Rand) []*variable {
			return []*variable{draw(r, normal(2), 3, 10), weights(r, 3, 5)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			y := f64(3, 5)
			b.SwiGLU(y, v[0].tensor())
			return weigh(y, v[1])
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			dx := d.zeros(3, 10)
			d.SwiGLUBackward(dx, d.up(v[1]), d.up(v[0]))
			return []*tensor.Tensor{dx, nil}
		},
	}
}

// scaleSlope is drop path and LayerScale: the gradient is the same call on the output's gradient.
func scaleSlope() *slopeCase {
	return &slopeCase{
		op: "ScaleRowsCols", name: "x",
		variables: func(r *tensor.Rand) []*variable {
			row, col := weights(r, 4), weights(r, 3)
			return []*variable{draw(r, normal(1), 4, 3), row, col, weights(r, 4, 3)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			y := f64(4, 3)
			b.ScaleRowsCols(y, v[0].tensor(), v[1].tensor(), v[2].tensor())
			return weigh(y, v[3])
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			dx := d.zeros(4, 3)
			d.ScaleRowsCols(dx, d.up(v[3]), d.up(v[1]), d.up(v[2]))
			return []*tensor.Tensor{dx, nil, nil, nil}
		},
	}
}

func dropoutSlope() *slopeCase {
	const p, seed, offset = 0.4, 11, 3
	return &slopeCase{
		op: "Dropout", name: "x",
		variables: func(r *tensor.Rand) []*variable {
			return []*variable{draw(r, normal(1), 5, 7), weights(r, 5, 7)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			y := f64(5, 7)
			b.Dropout(y, v[0].tensor(), p, seed, offset)
			return weigh(y, v[1])
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			dx := d.up(v[1])
			d.Dropout(dx, dx, p, seed, offset)
			return []*tensor.Tensor{dx, nil}
		},
	}
}

// gemmSlope is the whole backward pass of out = x·wᵀ + b, or x·w.
func gemmSlope(transB bool) *slopeCase {
	const m, n, k = 5, 4, 7
	name, wShape := "x·w", []int{k, n}
	if transB {
		name, wShape = "x·wᵀ", []int{n, k}
	}
	return &slopeCase{
		op: "Gemm", name: name,
		variables: func(r *tensor.Rand) []*variable {
			return []*variable{draw(r, normal(1), m, k), draw(r, normal(1), wShape...), draw(r, normal(1), n), weights(r, m, n)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			y := f64(m, n)
			b.Gemm(kernels.Gemm{M: m, N: n, K: k, A: v[0].tensor(), B: v[1].tensor(), TransB: transB, Bias: v[2].tensor(), Out: y})
			return weigh(y, v[3])
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			x, w, dy := d.up(v[0]), d.up(v[1]), d.up(v[3])
			dx, dw, db := d.zeros(m, k), d.zeros(wShape...), d.zeros(n)
			d.Gemm(kernels.Gemm{M: m, N: k, K: n, A: dy, B: w, TransB: !transB, Out: dx})
			if transB {
				d.Gemm(kernels.Gemm{M: n, N: k, K: m, A: dy, TransA: true, B: x, Out: dw, Accumulate: true})
			} else {
				d.Gemm(kernels.Gemm{M: k, N: n, K: m, A: x, TransA: true, B: dy, Out: dw, Accumulate: true})
			}
			d.ColSum(db, dy, 1, true)
			return []*tensor.Tensor{dx, dw, db, nil}
		},
	}
}

// layerScaleSlope is out = residual + rowScale·gamma·(x·wᵀ + b), whose branch output is not kept.
func layerScaleSlope() *slopeCase {
	const m, n, k = 6, 4, 5
	return &slopeCase{
		op: "LayerScaleBackward", name: "branch",
		variables: func(r *tensor.Rand) []*variable {
			rows := weights(r, m)
			return []*variable{draw(r, normal(1), m, k), draw(r, normal(1), n, k), draw(r, normal(1), n), draw(r, normal(1), n), rows, weights(r, m, n)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			y := f64(m, n)
			b.Gemm(kernels.Gemm{M: m, N: n, K: k, A: v[0].tensor(), B: v[1].tensor(), TransB: true, Bias: v[2].tensor(), Gamma: v[3].tensor(), RowScale: v[4].tensor(), Out: y})
			return weigh(y, v[5])
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			x, w, bias, gamma, rows, dy := d.up(v[0]), d.up(v[1]), d.up(v[2]), d.up(v[3]), d.up(v[4]), d.up(v[5])
			scaled, g, c, branch := d.zeros(m, n), d.zeros(n, k), d.zeros(n), d.zeros(m, n)
			dx, dw, db, dgamma := d.zeros(m, k), d.zeros(n, k), d.zeros(n), d.zeros(n)
			d.ScaleRowsCols(scaled, dy, rows, nil)
			d.Gemm(kernels.Gemm{M: n, N: k, K: m, A: scaled, TransA: true, B: x, Out: g})
			d.ColSum(c, scaled, 1, false)
			d.LayerScaleBackward(dw, db, dgamma, g, c, w, bias, gamma)
			d.ScaleRowsCols(branch, dy, rows, gamma)
			d.Gemm(kernels.Gemm{M: m, N: k, K: n, A: branch, B: w, Out: dx})
			return []*tensor.Tensor{dx, dw, db, dgamma, nil, nil}
		},
	}
}

func layerNormSlope(accumulate bool) *slopeCase {
	const rows, cols, eps = 3, 6, 1e-3
	name := "overwrite"
	if accumulate {
		name = "accumulate"
	}
	return &slopeCase{
		op: "LayerNormBackward", name: name,
		variables: func(r *tensor.Rand) []*variable {
			return []*variable{draw(r, around(1, 2), rows, cols), draw(r, normal(1), cols), draw(r, normal(1), cols), weights(r, rows, cols)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			y, stat := f64(rows, cols), f64(rows)
			b.LayerNorm(y, stat, f64(rows), v[0].tensor(), v[1].tensor(), v[2].tensor(), eps)
			sum := weigh(y, v[3])
			if accumulate { // the residual branch adds x itself
				sum += weigh(v[0].tensor(), v[3])
			}
			return sum
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			x, gamma, dy := d.up(v[0]), d.up(v[1]), d.up(v[3])
			y, mean, rstd := d.zeros(rows, cols), d.zeros(rows), d.zeros(rows)
			dx, dgamma, dbeta := d.zeros(rows, cols), d.zeros(cols), d.zeros(cols)
			if accumulate {
				d.Copy(dx, dy)
			}
			d.LayerNorm(y, mean, rstd, x, gamma, d.up(v[2]), eps)
			d.LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, accumulate)
			return []*tensor.Tensor{dx, dgamma, dbeta, nil}
		},
	}
}

// One of the rows is shorter than eps.
func l2Slope() *slopeCase {
	const rows, cols, eps = 4, 5, 0.5
	return &slopeCase{
		op: "L2NormalizeBackward", name: "rows",
		variables: func(r *tensor.Rand) []*variable {
			x := draw(r, normal(2), rows, cols)
			for c := range cols {
				x.data[2*cols+c] = round(tensor.F32, x.data[2*cols+c]/64)
			}
			return []*variable{x, weights(r, rows, cols)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			y := f64(rows, cols)
			b.L2Normalize(y, f64(rows), v[0].tensor(), eps)
			return weigh(y, v[1])
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			y, norm, dx := d.zeros(rows, cols), d.zeros(rows), d.zeros(rows, cols)
			d.L2Normalize(y, norm, d.up(v[0]), eps)
			d.L2NormalizeBackward(dx, d.up(v[1]), y, norm, eps)
			return []*tensor.Tensor{dx, nil}
		},
	}
}

func weightNormSlope(withGain bool) *slopeCase {
	const rows, cols = 4, 5
	name := "unit"
	if withGain {
		name = "gain"
	}
	return &slopeCase{
		op: "WeightNormBackward", name: name,
		variables: func(r *tensor.Rand) []*variable {
			gain := draw(r, around(1, 0.3), rows)
			gain.fixed = !withGain
			return []*variable{draw(r, normal(2), rows, cols), gain, weights(r, rows, cols)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			w, gain := f64(rows, cols), (*tensor.Tensor)(nil)
			if withGain {
				gain = v[1].tensor()
			}
			b.WeightNorm(w, f64(rows), v[0].tensor(), gain)
			return weigh(w, v[2])
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			x, w, norm, dv := d.up(v[0]), d.zeros(rows, cols), d.zeros(rows), d.zeros(rows, cols)
			var gain, dgain *tensor.Tensor
			if withGain {
				gain, dgain = d.up(v[1]), d.zeros(rows)
			}
			d.WeightNorm(w, norm, x, gain)
			d.WeightNormBackward(dv, dgain, d.up(v[2]), x, gain, norm)
			return []*tensor.Tensor{dv, dgain, nil}
		},
	}
}

func attentionSlope() *slopeCase {
	c := attentionCase{lengths: []int{3, 1, 4}, heads: 2, d: 4}
	tokens, inner := c.tokens(), c.heads*c.d
	describe := func(starts *tensor.Tensor, qkv, out, lse *tensor.Tensor) kernels.Attention {
		return kernels.Attention{Out: out, LSE: lse, QKV: qkv, Heads: c.heads, Scale: 0.6,
			Seqs: kernels.Sequences{Starts: starts, Host: c.starts(), MaxLen: c.longest()}}
	}
	return &slopeCase{
		op: "AttentionBackward", name: "packed",
		variables: func(r *tensor.Rand) []*variable {
			return []*variable{draw(r, normal(1), tokens, 3*inner), weights(r, tokens, inner)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			y, starts := f64(tokens, inner), c.starts()
			b.Attention(describe(tensor.FromI32(starts, len(starts)), v[0].tensor(), y, nil))
			return weigh(y, v[1])
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			a := describe(d.index(c.starts()...), d.up(v[0]), d.zeros(tokens, inner), d.zeros(c.heads, tokens))
			dqkv := d.zeros(tokens, 3*inner)
			d.Attention(a)
			d.AttentionBackward(kernels.AttentionGrad{Attention: a, DOut: d.up(v[1]), DQKV: dqkv, Delta: d.zeros(c.heads, tokens)})
			return []*tensor.Tensor{dqkv, nil}
		},
	}
}

func ropeSlope() *slopeCase {
	const tokens, heads, d2 = 5, 2, 3
	rows := []int32{1, -1, 0, 2, 1}
	return &slopeCase{
		op: "RoPE", name: "inverse",
		variables: func(r *tensor.Rand) []*variable {
			cos, sin := weights(r, 3, d2), weights(r, 3, d2)
			for i, a := range cos.data {
				cos.data[i], sin.data[i] = round(tensor.F32, math.Cos(a)), round(tensor.F32, math.Sin(a))
			}
			return []*variable{draw(r, normal(1), tokens, 6*heads*d2), cos, sin, weights(r, tokens, 6*heads*d2)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			y := f64(tokens, 6*heads*d2)
			copy(y.F64(), v[0].data)
			b.RoPE(y, v[1].tensor(), v[2].tensor(), tensor.FromI32(rows, tokens), heads, false)
			return weigh(y, v[3])
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			dx := d.up(v[3])
			d.RoPE(dx, d.up(v[1]), d.up(v[2]), d.index(rows...), heads, true)
			return []*tensor.Tensor{dx, nil, nil, nil}
		},
	}
}

func scatterSlope() *slopeCase {
	const tableRows, cols = 4, 3
	index := []int32{2, 0, -1, 2, 3, 2}
	starts, rows := []int32{0, 1, 1, 4, 5}, []int32{1, 0, 3, 5, 4}
	return &slopeCase{
		op: "ScatterRows", name: "table",
		variables: func(r *tensor.Rand) []*variable {
			return []*variable{draw(r, normal(1), tableRows, cols), weights(r, len(index), cols)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			y := f64(len(index), cols)
			b.GatherRows(y, v[0].tensor(), tensor.FromI32(index, len(index)), false)
			return weigh(y, v[1])
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			dtable := d.zeros(tableRows, cols)
			d.ScatterRows(dtable, d.up(v[1]), d.index(starts...), d.index(rows...), false)
			return []*tensor.Tensor{dtable, nil}
		},
	}
}

// crossEntropySlope differentiates by the student's logits only; its log-sum-exp follows them, and the teacher's rows
// are normalised.
func crossEntropySlope() *slopeCase {
	const students, teachers, k, sTemp, tTemp = 3, 2, 6, 10, 25
	starts, rows := []int32{0, 2, 3, 4}, []int32{0, 1, 1, 0}
	return &slopeCase{
		op: "CrossEntropy", name: "logits",
		variables: func(r *tensor.Rand) []*variable {
			t, centre, pairs := weights(r, teachers, k), weights(r, k), weights(r, len(rows))
			for i := range t.data {
				t.data[i] = round(tensor.F32, t.data[i]/10)
			}
			for i := range centre.data {
				centre.data[i] = round(tensor.F32, centre.data[i]/20)
			}
			return []*variable{draw(r, normal(0.2), students, k), t, centre, pairs}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			s, t, centre, loss := v[0].tensor(), v[1].tensor(), v[2].tensor(), f64(len(rows))
			slse, tlse := f64(students), f64(teachers)
			b.RowLogSumExp(slse, s, nil, sTemp)
			b.RowLogSumExp(tlse, t, centre, tTemp)
			b.CrossEntropy(kernels.CrossEntropy{Loss: loss, S: s, SLSE: slse, T: t, TLSE: tlse, Centre: centre, SInvTemp: sTemp, TInvTemp: tTemp,
				Starts: tensor.FromI32(starts, len(starts)), Rows: tensor.FromI32(rows, len(rows)), Weights: v[3].tensor()})
			sum := 0.0
			for _, l := range loss.F64() {
				sum += l
			}
			return sum
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			s, t, centre, ds := d.up(v[0]), d.up(v[1]), d.up(v[2]), d.zeros(students, k)
			slse, tlse := d.zeros(students), d.zeros(teachers)
			d.RowLogSumExp(slse, s, nil, sTemp)
			d.RowLogSumExp(tlse, t, centre, tTemp)
			d.CrossEntropy(kernels.CrossEntropy{Loss: d.zeros(len(rows)), DS: ds, S: s, SLSE: slse, T: t, TLSE: tlse, Centre: centre, SInvTemp: sTemp, TInvTemp: tTemp,
				Starts: d.index(starts...), Rows: d.index(rows...), Weights: d.up(v[3])})
			return []*tensor.Tensor{ds, nil, nil, nil}
		},
	}
}

// koleoSlope keeps the neighbours fixed, as the loss does; row 0 is the neighbour of three others.
func koleoSlope() *slopeCase {
	const n, cols, eps, minDist, weight = 5, 4, 1e-8, 1e-4, 0.3
	index := []int32{2, 0, 0, 0, 1}
	run := func(b kernels.Backend, loss, dx, x, rows *tensor.Tensor) {
		b.KoLeo(loss, dx, x, rows, eps, minDist, weight)
	}
	return &slopeCase{
		op: "KoLeo", name: "both ends",
		variables: func(r *tensor.Rand) []*variable { return []*variable{draw(r, normal(1), n, cols)} },
		loss: func(b *ref.Backend, v []*variable) float64 {
			loss := f64(n)
			run(b, loss, f64(n, cols), v[0].tensor(), tensor.FromI32(index, n))
			sum := 0.0
			for _, l := range loss.F64() {
				sum += l
			}
			return sum
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			dx := d.zeros(n, cols)
			run(d, d.zeros(n), dx, d.up(v[0]), d.index(index...))
			return []*tensor.Tensor{dx}
		},
	}
}

func mseSlope() *slopeCase {
	return &slopeCase{
		op: "MSE", name: "a",
		variables: func(r *tensor.Rand) []*variable {
			return []*variable{draw(r, normal(1), 3, 5), weights(r, 3, 5)}
		},
		loss: func(b *ref.Backend, v []*variable) float64 {
			loss := f64(1)
			b.MSE(loss, f64(3, 5), v[0].tensor(), v[1].tensor(), 0.7)
			return loss.F64()[0]
		},
		backward: func(d *device, v []*variable) []*tensor.Tensor {
			da := d.zeros(3, 5)
			d.MSE(d.zeros(1), da, d.up(v[0]), d.up(v[1]), 0.7)
			return []*tensor.Tensor{da, nil}
		},
	}
}
