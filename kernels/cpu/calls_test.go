package cpu

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// calls makes one call of every operation at shapes that are split among threads. It returns the calls by name
// and the tensors that they write; making them again gives the same contents.
func calls(b *Backend, dtype tensor.DType) (names []string, list []func(), results []*tensor.Tensor) {
	r := tensor.NewRand(11, 0, 0, 0)
	fill := func(d tensor.DType, shape ...int) *tensor.Tensor {
		t := tensor.Zeros(d, shape...)
		for i := range t.Len() {
			t.Set(i, r.Uniform(-1, 1))
		}
		return t
	}
	work := func(shape ...int) *tensor.Tensor { return fill(dtype, shape...) }
	stat := func(shape ...int) *tensor.Tensor { return fill(tensor.F32, shape...) }
	positive := func(shape ...int) *tensor.Tensor {
		t := stat(shape...)
		for i := range t.Len() {
			t.Set(i, 0.1+t.At(i)*t.At(i))
		}
		return t
	}
	result := func(t *tensor.Tensor) *tensor.Tensor {
		results = append(results, t)
		return t
	}
	index := func(v ...int32) *tensor.Tensor { return tensor.FromI32(v, len(v)) }
	add := func(name string, f func()) { names, list = append(names, name), append(list, f) }

	const rows, cols = 410, 384
	x, y, g := work(rows, cols), work(rows, cols), work(rows, cols)
	out := func() *tensor.Tensor { return result(work(rows, cols)) }
	gamma, beta, vector := stat(cols), stat(cols), stat(rows)
	mean, rstd, norm := stat(rows), positive(rows), positive(rows)

	o := out()
	add("Fill", func() { b.Fill(o, 0.5) })
	o1, wide := out(), result(stat(rows, cols))
	add("Copy", func() { b.Copy(o1, x); b.Copy(wide, x) })
	o2 := out()
	add("Axpy", func() { b.Axpy(o2, 0.5, x) })
	o3 := out()
	add("Scale", func() { b.Scale(o3, 0.5) })
	o4 := out()
	add("ScaleRowsCols", func() { b.ScaleRowsCols(o4, x, vector, gamma) })
	o5 := out()
	add("Dropout", func() { b.Dropout(o5, x, 0.3, 5, 7) })
	o6 := result(work(rows, 700))
	w6 := work(700, cols)
	add("Gemm", func() {
		b.Gemm(kernels.Gemm{M: rows, N: 700, K: cols, Out: o6, A: x, B: w6, TransB: true, Act: kernels.GELU})
	})
	sum := result(stat(cols))
	add("ColSum", func() { b.ColSum(sum, x, 0.1, true) })
	dw, db, dgamma := result(stat(rows, cols)), result(stat(rows)), result(stat(rows))
	add("LayerScaleBackward", func() { b.LayerScaleBackward(dw, db, dgamma, wide, vector, x, vector, norm) })
	o7, o8 := out(), out()
	add("ActForward", func() { b.ActForward(o7, x, kernels.SiLU) })
	add("ActBackward", func() { b.ActBackward(o8, y, x, kernels.SiLU) })
	o9, o10 := result(work(rows, cols/2)), out()
	dy9 := work(rows, cols/2)
	add("SwiGLU", func() { b.SwiGLU(o9, x) })
	add("SwiGLUBackward", func() { b.SwiGLUBackward(o10, dy9, x) })
	o11, mean11, rstd11 := out(), result(stat(rows)), result(stat(rows))
	add("LayerNorm", func() { b.LayerNorm(o11, mean11, rstd11, x, gamma, beta, 1e-6) })
	o12, dg12, db12 := out(), result(stat(cols)), result(stat(cols))
	add("LayerNormBackward", func() { b.LayerNormBackward(o12, dg12, db12, y, x, mean, rstd, gamma, true) })
	o13, n13, o14 := out(), result(stat(rows)), out()
	add("L2Normalize", func() { b.L2Normalize(o13, n13, x, 1e-6) })
	add("L2NormalizeBackward", func() { b.L2NormalizeBackward(o14, y, x, norm, 1e-6) })
	o15, n15, dv, dgain := out(), result(stat(rows)), result(stat(rows, cols)), result(stat(rows))
	add("WeightNorm", func() { b.WeightNorm(o15, n15, wide, vector) })
	add("WeightNormBackward", func() { b.WeightNormBackward(dv, dgain, x, wide, vector, norm) })

	starts := []int32{0, 197, 234, 271, 410}
	const heads, d = 3, 64
	a := kernels.Attention{Out: result(work(rows, heads*d)), LSE: result(stat(heads, rows)), QKV: work(rows, 3*heads*d),
		Seqs: kernels.Sequences{Starts: index(starts...), Host: starts, MaxLen: 197}, Heads: heads, Scale: 0.125}
	add("Attention", func() { b.Attention(a) })
	grad := kernels.AttentionGrad{Attention: a, DOut: work(rows, heads*d), DQKV: result(work(rows, 3*heads*d)), Delta: stat(heads, rows)}
	add("AttentionBackward", func() { b.AttentionBackward(grad) })
	queries, probs := index(0, 200, 409), result(stat(3, heads, 197))
	add("AttentionRows", func() { b.AttentionRows(probs, queries, a) })
	cos, sin, places, qkv := stat(rows, d/2), stat(rows, d/2), make([]int32, rows), result(work(rows, 3*heads*d))
	for i := range places {
		places[i] = int32(i) - 1
	}
	at := index(places...)
	add("RoPE", func() { b.RoPE(qkv, cos, sin, at, heads, false) })

	images, patches := stat(3, 3, 64, 48), result(work(3*4*3, 3*16*16))
	add("Patchify", func() { b.Patchify(patches, images, 16) })
	o16, o17 := out(), out()
	add("GatherRows", func() { b.GatherRows(o16, x, at, false) })
	inverse := make([]int32, rows+1)
	for i := range inverse {
		inverse[i] = int32(min(i, rows-1))
	}
	from, to := index(inverse...), index(inverse[:rows-1]...)
	add("ScatterRows", func() { b.ScatterRows(o17, x, from, to, true) })

	const k, q = 9000, 6
	s, teacher, centre := work(rows/10, k), work(q, k), stat(k)
	slse, tlse, column := result(stat(rows/10)), result(stat(q)), result(stat(k))
	add("RowLogSumExp", func() { b.RowLogSumExp(slse, s, nil, 10); b.RowLogSumExp(tlse, teacher, centre, 25) })
	add("ColSumExp", func() { b.ColSumExp(column, teacher, centre, tlse, 25) })
	p, moved := result(work(q, k)), result(stat(k))
	add("SoftmaxRows", func() { b.SoftmaxRows(p, teacher, centre, tlse, 25) })
	add("SinkhornCentre", func() { b.SinkhornCentre(moved, column, 0.1, 25) })
	first, second := make([]int32, rows/10+1), make([]int32, 2*(rows/10))
	for i := range second {
		first[i/2+1] = int32(i + 1)
		second[i] = int32(i % q)
	}
	ce := kernels.CrossEntropy{Loss: result(stat(len(second))), DS: result(work(rows/10, k)), S: s, SLSE: slse, T: teacher, TLSE: tlse, Centre: centre,
		SInvTemp: 10, TInvTemp: 25, Starts: index(first...), Rows: index(second...), Weights: positive(len(second))}
	add("CrossEntropy", func() { b.CrossEntropy(ce) })
	share, entropy := positive(k), result(stat(1))
	add("Entropy", func() { b.Entropy(entropy, share) })

	dots, nearest := work(70, 70), result(tensor.Zeros(tensor.I32, 70))
	add("NearestRows", func() { b.NearestRows(nearest, dots) })
	unit, loss, dx := x.Rows(0, 70), result(stat(70)), result(work(70, cols))
	add("KoLeo", func() { b.KoLeo(loss, dx, unit, nearest, 1e-8, 1e-4, 0.1) })
	mse, da := result(stat(1)), out()
	add("MSE", func() { b.MSE(mse, da, x, y, 0.7) })
	total := result(stat(1))
	add("Sum", func() { b.Sum(total, x, 0.3, false) })
	m1, m2 := result(stat(cols)), result(stat(cols))
	add("ColMoments", func() { b.ColMoments(m1, m2, x) })

	table := &kernels.ParamTable{Groups: 2}
	for i, n := range []int{70_001, 384, 5, 40_000} {
		e := kernels.ParamEntry{Param: result(stat(n)), Grad: work(n), M: result(stat(n)), V: result(positive(n)), EMA: result(stat(n)),
			Half: result(fill(tensor.BF16, n)), EMA16: result(fill(tensor.BF16, n)), LRMul: 1, WDMul: float64(i % 2), Group: i % 2, Frozen: i == 3}
		table.Entries = append(table.Entries, e)
	}
	squares, scales := result(stat(2)), result(stat(2))
	add("GradSquares", func() { b.GradSquares(squares, table) })
	missed, followed := result(stat(1)), result(stat(300))
	guard := kernels.Guard{Scale: scales, Missed: missed, Squares: squares, Losses: stat(3), MaxNorm: 1}
	add("Guard", func() { b.Guard(guard) })
	average := stat(300)
	add("EMA", func() { b.EMA(followed, average, scales, 0.9) })
	step := kernels.AdamWStep{Step: 3, LR: 1e-3, WD: 0.04, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Momentum: 0.99}
	add("AdamW", func() { b.AdamW(table, scales, step) })
	add("Upload", func() { b.Upload(o, g); b.Download(g, o) })
	return names, list, results
}

var storage = []tensor.DType{tensor.F32, tensor.BF16}

func TestSameBitsForAnyNumberOfThreads(t *testing.T) {
	for _, dtype := range storage {
		var want []*tensor.Tensor
		for _, threads := range []int{1, 2, 4} {
			b := New(Options{Threads: threads})
			_, list, got := calls(b, dtype)
			for _, call := range list {
				call()
			}
			b.Close()
			if threads == 1 {
				want = got
				continue
			}
			for i := range got {
				if !bytes.Equal(got[i].Bytes(), want[i].Bytes()) {
					t.Errorf("%s: result %d %s differs between 1 and %d threads", dtype, i, got[i], threads)
				}
			}
		}
	}
}

func TestCallsAllocateNothing(t *testing.T) {
	for _, dtype := range storage {
		b := New(Options{Threads: 2})
		names, list, _ := calls(b, dtype)
		for i, call := range list {
			for range 8 {
				call() // until each worker has had each kind of task
			}
			if n := testing.AllocsPerRun(5, call); n != 0 {
				t.Errorf("%s %s: %v allocations a call", names[i], dtype, n)
			}
		}
		b.Close()
	}
}

// The interface has no operation that calls lacks: a new one must come with its place in the two tests above.
func TestCallsAreComplete(t *testing.T) {
	b := New(Options{Threads: 1})
	defer b.Close()
	names, _, _ := calls(b, tensor.F32)
	have := map[string]bool{"Name": true, "Allocator": true, "Sync": true, "Download": true}
	for _, n := range names {
		have[n] = true
	}
	backend := reflect.TypeFor[kernels.Backend]()
	for i := range backend.NumMethod() {
		if m := backend.Method(i).Name; !have[m] {
			t.Errorf("no call of %s", m)
		}
	}
}
