package optest

import "github.com/dino-mx/dmx/kernels"

// emptyRows are calls without rows: a batch in which no patch is masked makes them. They write what a sum of nothing
// is, or nothing at all, and must not fail.
func emptyRows() []*spec {
	var list []*spec
	add := func(op string, build func(r *row)) {
		list = append(list, &spec{op: op, name: "empty", build: build})
	}
	none := shape2{0, 48}
	add("Fill", func(r *row) {
		x := r.out("dst", 0)
		r.call = func(b kernels.Backend) { b.Fill(x.t, 1) }
	})
	add("Copy", func(r *row) {
		x, y := r.in("src", normal(1), 0), r.out("dst", 0)
		r.call = func(b kernels.Backend) { b.Copy(y.t, x.t) }
	})
	add("Axpy", func(r *row) { axpy(r.dtype, r.dtype)(r, none) })
	add("ScaleRowsCols", func(r *row) { scaleRowsCols("rowcol", false)(r, none) })
	add("Dropout", func(r *row) { dropout(0.5, false)(r, none) })
	add("ActForward", func(r *row) { actForward(kernels.GELU, false)(r, none) })
	add("ActBackward", func(r *row) { actBackward(kernels.GELU, false)(r, none) })
	add("SwiGLU", func(r *row) { swiglu(r, none) })
	add("SwiGLUBackward", func(r *row) { swigluBackward(r, none) })
	add("Gemm", gemmCase{m: 16, n: 24, transA: true, accumulate: true, wide: true}.build)
	add("ColSum", func(r *row) { colSum(2, true, false)(r, none) })
	add("LayerNorm", func(r *row) { layerNorm(normal(1), 1e-6)(r, none) })
	add("LayerNormBackward", func(r *row) { layerNormBackward(true, false)(r, none) })
	add("L2Normalize", func(r *row) { l2Normalize(r, none) })
	add("L2NormalizeBackward", func(r *row) { l2NormalizeBackward(r, none) })
	add("Attention", func(r *row) { attentionCase{lengths: []int{0, 0}, heads: 2, d: 64, spread: 1}.forward(r) })
	add("AttentionBackward", func(r *row) { attentionCase{lengths: []int{0}, heads: 2, d: 64, spread: 1}.backward(r) })
	add("RoPE", func(r *row) { ropeRow(0, 2, 64, false).build(r) })
	add("Patchify", func(r *row) { patchify(0, 3, 32, 32, 16, r.statType()).build(r) })
	add("GatherRows", func(r *row) { gather(true, false)(r, none) })
	add("ScatterRows", func(r *row) {
		dout, starts, rows := r.in("dout", normal(1), 0, 48), r.index("starts", make([]int32, 4), 4), r.index("rows", nil, 0)
		dtable := r.out("dtable", 3, 48)
		r.call = func(b kernels.Backend) { b.ScatterRows(dtable.t, dout.t, starts.t, rows.t, false) }
	})
	logits := func(r *row) *logits { return newLogits(r, none, 1, 10, true) }
	add("RowLogSumExp", func(r *row) { logits(r).rowLogSumExp(r) })
	add("ColSumExp", func(r *row) { logits(r).colSumExp(r) })
	add("SoftmaxRows", func(r *row) { logits(r).softmaxRows(r, false) })
	add("CrossEntropy", crossCase{teachers: 2, prototypes: 48, pairs: 1, centred: true}.build)
	add("CrossEntropy", crossCase{students: 3, teachers: 0, prototypes: 48}.build)
	list[len(list)-1].name = "no teacher"
	add("Sum", func(r *row) {
		x, y := r.in("x", normal(1), 0), r.outStat("out", 1)
		r.call = func(b kernels.Backend) { b.Sum(y.t, x.t, 3, false) }
	})
	add("GradSquares", func(r *row) {
		y := r.outStat("out", 2)
		r.call = func(b kernels.Backend) { b.GradSquares(y.t, &kernels.ParamTable{Groups: 2}) }
	})
	return list
}
