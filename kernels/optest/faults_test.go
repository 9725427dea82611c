package optest

import (
	"errors"
	"math"
	"testing"
	"unsafe"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/ref"
	"github.com/dino-mx/dmx/tensor"
)

// A fault is the oracle with one deliberate mistake. The table must find every one of them, in every type, by the
// rows that an emulator runs already; else it would not find the same mistake in a backend.
type fault struct {
	name    string
	op      string
	backend kernels.Backend
	only    tensor.DType // a mistake of precision, which the other type cannot show; anyType otherwise
	slope   bool         // Gradients must find it too
}

const anyType = tensor.I32

func TestTableFindsFaults(t *testing.T) {
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			for _, dtype := range []tensor.DType{tensor.F32, tensor.BF16} {
				if f.only != anyType && f.only != dtype {
					continue
				}
				if !notices(f.backend, dtype, f.op) {
					t.Errorf("no small %s row of %s noticed", dtype, f.op)
				}
			}
		})
	}
}

// notices runs the small rows of an operation until one fails.
func notices(b kernels.Backend, dtype tensor.DType, op string) bool {
	o := collect([]Option{Only(op), Small})
	o.types = []tensor.DType{dtype}
	noticed := false
	prepared(requests(&o), &o, func(_ request, r *row) bool {
		noticed = r.check(b) != nil
		return !noticed
	})
	return noticed
}

func TestGradientsFindFaults(t *testing.T) {
	for _, f := range faults() {
		if !f.slope {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			for _, c := range slopeCases() {
				if c.op == f.op && c.check(f.backend, tensor.F32) != nil {
					return
				}
			}
			t.Errorf("no case of %s noticed", f.op)
		})
	}
}

func TestDeviceFaultIsReported(t *testing.T) {
	o := collect([]Option{Only("Fill"), Small})
	want := len(groups(&o)[0]) * len(o.types)
	if got := Check(faultySync{ref.New()}, Only("Fill"), Small); len(got) != want {
		t.Errorf("%d rows reported the fault of Sync, want %d", len(got), want)
	}
}

type faultySync struct{ *ref.Backend }

func (faultySync) Sync() error { return errors.New("illegal address in fill_f32") }

func faults() []fault {
	r := ref.New()
	return []fault{
		{"gemm drops the bias", "Gemm", dropsBias{r}, anyType, false},
		{"gemm overwrites instead of accumulating", "Gemm", overwrites{r}, anyType, false},
		{"gemm accumulates on stale memory", "Gemm", accumulates{r}, anyType, false},
		{"gemm transposes a square operand", "Gemm", transposes{r}, anyType, false},
		{"gemm leaves out the last product", "Gemm", shortSum{r}, anyType, true},
		{"gemm takes the tanh form of gelu", "Gemm", tanhGELU{r}, anyType, false},
		{"gemm keeps the activation as pre", "Gemm", preAfterAct{r}, anyType, false},
		{"gemm writes beside its columns", "Gemm", besideColumns{r}, anyType, false},
		{"gemm writes past the end", "Gemm", pastTheEnd{r}, anyType, false},
		{"gemm sums in bf16", "Gemm", bf16Sums{r}, tensor.BF16, false},
		{"gemm rounds f32 operands to bf16", "Gemm", bf16Operands{r}, tensor.F32, true},
		{"gemm scales the residual with the rows", "Gemm", scalesResidual{r}, anyType, false},
		{"layer norm writes before the start", "LayerNorm", beforeTheStart{r}, anyType, false},
		{"layer norm in one pass", "LayerNorm", onePass{r}, anyType, false},
		{"layer norm takes another eps", "LayerNorm", otherEps{r}, anyType, false},
		{"layer norm backward forgets the sums so far", "LayerNormBackward", forgetsSums{r}, anyType, false},
		{"layer norm backward overwrites dx", "LayerNormBackward", overwritesDX{r}, anyType, true},
		{"l2 normalise backward ignores eps", "L2NormalizeBackward", ignoresEps{r}, anyType, true},
		{"weight norm ignores the gain", "WeightNorm", ignoresGain{r}, anyType, false},
		{"attention takes another scale", "Attention", otherScale{r}, anyType, false},
		{"attention sees other sequences", "Attention", leaks{r}, anyType, false},
		{"attention gives lse in base 2", "Attention", base2{r}, anyType, false},
		{"attention backward forgets delta", "AttentionBackward", noDelta{r}, anyType, true},
		{"attention rows leave the padding", "AttentionRows", padding{r}, anyType, false},
		{"rope ignores inverse", "RoPE", forwardOnly{r}, anyType, true},
		{"rope rotates tokens without a position", "RoPE", rotatesAll{r}, anyType, true},
		{"cross-entropy forgets the centre", "CrossEntropy", noCentre{r}, anyType, true},
		{"cross-entropy takes the student's temperature", "CrossEntropy", oneTemperature{r}, anyType, true},
		{"cross-entropy leaves rows without a pair", "CrossEntropy", skipsRows{r}, anyType, false},
		{"log-sum-exp without the maximum", "RowLogSumExp", noMaximum{r}, anyType, false},
		{"softmax overwrites its lse", "SoftmaxRows", changesInput{r}, anyType, false},
		{"sinkhorn without a floor", "SinkhornCentre", noFloor{r}, anyType, false},
		{"adamw without weight decay", "AdamW", noDecay{r}, anyType, false},
		{"adamw counts steps from 2", "AdamW", nextStep{r}, anyType, false},
		{"adamw leaves frozen teachers behind", "AdamW", frozenTeacher{r}, anyType, false},
		{"adamw looks at one scale only", "AdamW", oneScale{r}, anyType, false},
		{"adamw ignores the clip scale", "AdamW", noClip{r}, anyType, false},
		{"adamw forgets the half copy", "AdamW", noHalf{r}, anyType, false},
		{"gradient norm counts skipped entries", "GradSquares", countsSkipped{r}, anyType, false},
		{"adamw counts missed steps", "AdamW", countsMissed{r}, anyType, false},
		{"clip scale above 1", "Guard", scalesUp{r}, anyType, false},
		{"guard looks at the squares only", "Guard", blindToLosses{r}, anyType, false},
		{"guard counts no missed step", "Guard", missesNothing{r}, anyType, false},
		{"ema follows in a step that is skipped", "EMA", followsAnyway{r}, anyType, false},
		{"ema takes all of the new value", "EMA", takesAll{r}, anyType, false},
		{"copy truncates to bf16", "Copy", truncates{r}, anyType, false},
		{"column sum without the last row", "ColSum", lastRow{r}, anyType, false},
		{"column variance unbiased", "ColMoments", unbiased{r}, anyType, false},
		{"nearest takes the last of equals", "NearestRows", lastOfEquals{r}, anyType, false},
		{"koleo keeps duplicates", "KoLeo", keepsDuplicates{r}, anyType, false},
		{"koleo differentiates one end", "KoLeo", oneEnd{r}, anyType, true},
		{"gather leaves absent rows", "GatherRows", leavesAbsent{r}, anyType, false},
		{"scatter starts one row late", "ScatterRows", lateRow{r}, anyType, true},
		{"dropout ignores the offset", "Dropout", noOffset{r}, anyType, false},
		{"patchify puts channels innermost", "Patchify", channelsInner{r}, anyType, false},
		{"relu drops a NaN", "ActForward", dropsNaN{r}, anyType, false},
		{"column sum of nothing is not written", "ColSumExp", skipsEmpty{r}, anyType, false},
		{"softmax of few digits", "SoftmaxRows", fewDigits{r}, tensor.F32, false},
		{"activation overflows", "ActForward", overflows{r}, anyType, false},
		{"swiglu swaps its halves", "SwiGLU", swapsHalves{r}, anyType, false},
	}
}

// clone is a host copy.
func clone(t *tensor.Tensor) *tensor.Tensor {
	c := tensor.Zeros(t.DType(), t.Shape()...)
	copy(c.Bytes(), t.Bytes())
	return c
}

// past writes a byte at an offset from a tensor's memory, which lies in its margin.
func past(t *tensor.Tensor, at int) {
	*(*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(t.Bytes())), at)) = 0
}

type dropsBias struct{ *ref.Backend }

func (b dropsBias) Gemm(g kernels.Gemm) { g.Bias = nil; b.Backend.Gemm(g) }

type overwrites struct{ *ref.Backend }

func (b overwrites) Gemm(g kernels.Gemm) { g.Accumulate = false; b.Backend.Gemm(g) }

type accumulates struct{ *ref.Backend }

func (b accumulates) Gemm(g kernels.Gemm) { g.Accumulate = true; b.Backend.Gemm(g) }

type transposes struct{ *ref.Backend }

func (b transposes) Gemm(g kernels.Gemm) {
	g.TransB = g.TransB != (g.N == g.K && g.BCol == 0)
	b.Backend.Gemm(g)
}

type shortSum struct{ *ref.Backend }

func (b shortSum) Gemm(g kernels.Gemm) {
	if g.K%2 == 1 && g.K > 4 && !g.TransA {
		g.A = clone(g.A)
		for m := range g.M {
			g.A.Set(m*g.A.Dim(1)+g.ACol+g.K-1, 0)
		}
	}
	b.Backend.Gemm(g)
}

type tanhGELU struct{ *ref.Backend }

func (b tanhGELU) Gemm(g kernels.Gemm) {
	if g.Act == kernels.GELU {
		g.Act = kernels.GELUTanh
	}
	if g.ActGrad == kernels.GELU {
		g.ActGrad = kernels.GELUTanh
	}
	b.Backend.Gemm(g)
}

type preAfterAct struct{ *ref.Backend }

func (b preAfterAct) Gemm(g kernels.Gemm) {
	b.Backend.Gemm(g)
	if g.Pre != nil {
		b.ActForward(g.Pre, g.Pre, g.Act)
	}
}

type besideColumns struct{ *ref.Backend }

func (b besideColumns) Gemm(g kernels.Gemm) {
	b.Backend.Gemm(g)
	if g.OutCol > 0 {
		g.Out.Set(g.OutCol+g.N, 0)
	}
}

type pastTheEnd struct{ *ref.Backend }

func (b pastTheEnd) Gemm(g kernels.Gemm) { b.Backend.Gemm(g); past(g.Out, g.Out.NumBytes()) }

type bf16Sums struct{ *ref.Backend }

func (b bf16Sums) Gemm(g kernels.Gemm) {
	if g.Act != kernels.NoActivation || g.Pre != nil || g.GradOf != nil || g.Residual != nil || g.Gamma != nil || g.RowScale != nil || g.Bias != nil || g.TransA || !g.TransB || g.ACol != 0 || g.BCol != 0 {
		b.Backend.Gemm(g)
		return
	}
	chunks := func(t *tensor.Tensor, lo, hi int) *tensor.Tensor {
		rows, cols := kernels.Matrix(t)
		c := tensor.Zeros(t.DType(), rows, hi-lo)
		for r := range rows {
			for k := lo; k < hi; k++ {
				c.Set(r*(hi-lo)+k-lo, t.At(r*cols+k))
			}
		}
		return c
	}
	for lo := 0; lo < g.K; lo += 16 {
		part := g
		part.K = min(16, g.K-lo)
		part.A, part.B = chunks(g.A, lo, lo+part.K), chunks(g.B, lo, lo+part.K)
		part.Accumulate = g.Accumulate || lo > 0
		b.Backend.Gemm(part)
	}
}

type bf16Operands struct{ *ref.Backend }

func (b bf16Operands) Gemm(g kernels.Gemm) {
	half := tensor.Zeros(tensor.BF16, g.A.Shape()...)
	b.Copy(half, g.A)
	g.A = clone(g.A)
	b.Copy(g.A, half)
	b.Backend.Gemm(g)
}

type scalesResidual struct{ *ref.Backend }

func (b scalesResidual) Gemm(g kernels.Gemm) {
	if g.Residual != nil && g.RowScale != nil {
		residual := clone(g.Residual)
		b.ScaleRowsCols(residual, residual, g.RowScale, nil)
		g.Residual = residual
	}
	b.Backend.Gemm(g)
}

type beforeTheStart struct{ *ref.Backend }

func (b beforeTheStart) LayerNorm(y, mean, rstd, x, gamma, beta *tensor.Tensor, eps float64) {
	b.Backend.LayerNorm(y, mean, rstd, x, gamma, beta, eps)
	past(mean, -1)
}

// onePass takes the variance as E[x²]-E[x]² in f32, which a row far from zero does not survive.
type onePass struct{ *ref.Backend }

func (b onePass) LayerNorm(y, mean, rstd, x, gamma, beta *tensor.Tensor, eps float64) {
	b.Backend.LayerNorm(y, mean, rstd, x, gamma, beta, eps)
	rows, cols := kernels.Matrix(x)
	for r := range rows {
		var sum, squares float32
		for c := range cols {
			v := float32(x.At(r*cols + c))
			sum += v
			squares += v * v
		}
		mu := sum / float32(cols)
		rs := 1 / math.Sqrt(math.Max(0, float64(squares/float32(cols)-mu*mu))+eps)
		rstd.Set(r, rs)
		for c := range cols {
			y.Set(r*cols+c, (x.At(r*cols+c)-float64(mu))*rs*gamma.At(c)+beta.At(c))
		}
	}
}

type otherEps struct{ *ref.Backend }

func (b otherEps) LayerNorm(y, mean, rstd, x, gamma, beta *tensor.Tensor, eps float64) {
	b.Backend.LayerNorm(y, mean, rstd, x, gamma, beta, eps*2)
}

type forgetsSums struct{ *ref.Backend }

func (b forgetsSums) LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma *tensor.Tensor, accumulate bool) {
	if dgamma != nil {
		b.Fill(dgamma, 0)
	}
	b.Backend.LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, accumulate)
}

type overwritesDX struct{ *ref.Backend }

func (b overwritesDX) LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma *tensor.Tensor, _ bool) {
	b.Backend.LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, false)
}

type ignoresEps struct{ *ref.Backend }

func (b ignoresEps) L2NormalizeBackward(dx, dy, y, norm *tensor.Tensor, _ float64) {
	b.Backend.L2NormalizeBackward(dx, dy, y, norm, 0)
}

type ignoresGain struct{ *ref.Backend }

func (b ignoresGain) WeightNorm(w, norm, v, _ *tensor.Tensor) { b.Backend.WeightNorm(w, norm, v, nil) }

type otherScale struct{ *ref.Backend }

func (b otherScale) Attention(a kernels.Attention) { a.Scale *= 1.02; b.Backend.Attention(a) }

type leaks struct{ *ref.Backend }

func (b leaks) Attention(a kernels.Attention) {
	rows, _ := kernels.Matrix(a.QKV)
	host := []int32{0, int32(rows)}
	a.Seqs = kernels.Sequences{Starts: tensor.FromI32(host, 2), Host: host, MaxLen: rows}
	b.Backend.Attention(a)
}

type base2 struct{ *ref.Backend }

func (b base2) Attention(a kernels.Attention) {
	b.Backend.Attention(a)
	if a.LSE != nil {
		b.Scale(a.LSE, math.Log2E)
	}
}

type noDelta struct{ *ref.Backend }

func (b noDelta) AttentionBackward(a kernels.AttentionGrad) {
	a.Out = tensor.Zeros(a.Out.DType(), a.Out.Shape()...)
	b.Backend.AttentionBackward(a)
}

type padding struct{ *ref.Backend }

func (b padding) AttentionRows(probs, queries *tensor.Tensor, a kernels.Attention) {
	stale := clone(probs)
	b.Backend.AttentionRows(probs, queries, a)
	for i := range probs.Len() {
		if probs.At(i) == 0 && i%a.Seqs.MaxLen == a.Seqs.MaxLen-1 {
			probs.Set(i, stale.At(i))
		}
	}
}

type forwardOnly struct{ *ref.Backend }

func (b forwardOnly) RoPE(qkv, cos, sin, index *tensor.Tensor, heads int, _ bool) {
	b.Backend.RoPE(qkv, cos, sin, index, heads, false)
}

type rotatesAll struct{ *ref.Backend }

func (b rotatesAll) RoPE(qkv, cos, sin, index *tensor.Tensor, heads int, inverse bool) {
	index = clone(index)
	for i, v := range index.I32() {
		index.I32()[i] = max(v, 0)
	}
	b.Backend.RoPE(qkv, cos, sin, index, heads, inverse)
}

type noCentre struct{ *ref.Backend }

func (b noCentre) CrossEntropy(c kernels.CrossEntropy) { c.Centre = nil; b.Backend.CrossEntropy(c) }

type oneTemperature struct{ *ref.Backend }

func (b oneTemperature) CrossEntropy(c kernels.CrossEntropy) {
	c.TInvTemp = c.SInvTemp
	b.Backend.CrossEntropy(c)
}

type skipsRows struct{ *ref.Backend }

func (b skipsRows) CrossEntropy(c kernels.CrossEntropy) {
	var stale *tensor.Tensor
	if c.DS != nil {
		stale = clone(c.DS)
	}
	b.Backend.CrossEntropy(c)
	starts := c.Starts.I32()
	for r := range len(starts) - 1 {
		if c.DS != nil && starts[r] == starts[r+1] {
			b.Copy(c.DS.Rows(r, r+1), stale.Rows(r, r+1))
		}
	}
}

type noMaximum struct{ *ref.Backend }

func (b noMaximum) RowLogSumExp(lse, x, centre *tensor.Tensor, invTemp float64) {
	rows, cols := kernels.Matrix(x)
	for r := range rows {
		var sum float32
		for k := range cols {
			c := 0.0
			if centre != nil {
				c = centre.At(k)
			}
			sum += float32(math.Exp((x.At(r*cols+k) - c) * invTemp))
		}
		lse.Set(r, math.Log(float64(sum)))
	}
}

type changesInput struct{ *ref.Backend }

func (b changesInput) SoftmaxRows(p, x, centre, lse *tensor.Tensor, invTemp float64) {
	b.Backend.SoftmaxRows(p, x, centre, lse, invTemp)
	b.Scale(lse, -1)
}

type noFloor struct{ *ref.Backend }

func (b noFloor) SinkhornCentre(centre, colsum *tensor.Tensor, scale, invTemp float64) {
	for k := range colsum.Len() {
		centre.Set(k, centre.At(k)+math.Log(colsum.At(k)*scale)/invTemp)
	}
}

type noDecay struct{ *ref.Backend }

func (b noDecay) AdamW(p *kernels.ParamTable, scale *tensor.Tensor, s kernels.AdamWStep) {
	s.WD = 0
	b.Backend.AdamW(p, scale, s)
}

type nextStep struct{ *ref.Backend }

func (b nextStep) AdamW(p *kernels.ParamTable, scale *tensor.Tensor, s kernels.AdamWStep) {
	s.Step++
	b.Backend.AdamW(p, scale, s)
}

// changed is the table with every entry changed.
func changed(p *kernels.ParamTable, f func(*kernels.ParamEntry)) *kernels.ParamTable {
	c := *p
	c.Entries = append([]kernels.ParamEntry(nil), p.Entries...)
	for i := range c.Entries {
		f(&c.Entries[i])
	}
	return &c
}

type frozenTeacher struct{ *ref.Backend }

func (b frozenTeacher) AdamW(p *kernels.ParamTable, scale *tensor.Tensor, s kernels.AdamWStep) {
	b.Backend.AdamW(changed(p, func(e *kernels.ParamEntry) {
		if e.Frozen {
			e.EMA = nil
		}
	}), scale, s)
}

type oneScale struct{ *ref.Backend }

func (b oneScale) AdamW(p *kernels.ParamTable, scale *tensor.Tensor, s kernels.AdamWStep) {
	scale = clone(scale)
	for g := range scale.Len() {
		if v := scale.At(g); v != v {
			scale.Set(g, 1)
		}
	}
	b.Backend.AdamW(p, scale, s)
}

type noClip struct{ *ref.Backend }

func (b noClip) AdamW(p *kernels.ParamTable, scale *tensor.Tensor, s kernels.AdamWStep) {
	if v := scale.At(1); v == v {
		scale = clone(scale)
		b.Fill(scale, 1)
	}
	b.Backend.AdamW(p, scale, s)
}

type noHalf struct{ *ref.Backend }

func (b noHalf) AdamW(p *kernels.ParamTable, scale *tensor.Tensor, s kernels.AdamWStep) {
	b.Backend.AdamW(changed(p, func(e *kernels.ParamEntry) { e.Half = nil }), scale, s)
}

type countsSkipped struct{ *ref.Backend }

func (b countsSkipped) GradSquares(out *tensor.Tensor, p *kernels.ParamTable) {
	b.Backend.GradSquares(out, changed(p, func(e *kernels.ParamEntry) { e.Skip = false }))
}

type scalesUp struct{ *ref.Backend }

func (b scalesUp) Guard(g kernels.Guard) {
	b.Backend.Guard(g)
	for i := range g.Scale.Len() {
		if v := g.Scale.At(i); v == v && g.MaxNorm > 0 {
			g.Scale.Set(i, g.MaxNorm/(math.Sqrt(g.Squares.At(i))+1e-6))
		}
	}
}

type blindToLosses struct{ *ref.Backend }

func (b blindToLosses) Guard(g kernels.Guard) {
	g.Losses = nil
	b.Backend.Guard(g)
}

type missesNothing struct{ *ref.Backend }

func (b missesNothing) Guard(g kernels.Guard) {
	b.Backend.Guard(g)
	g.Missed.Set(0, 0)
}

type countsMissed struct{ *ref.Backend }

func (b countsMissed) AdamW(p *kernels.ParamTable, scale *tensor.Tensor, s kernels.AdamWStep) {
	s.Missed = nil
	b.Backend.AdamW(p, scale, s)
}

type followsAnyway struct{ *ref.Backend }

func (b followsAnyway) EMA(dst, src, scale *tensor.Tensor, momentum float64) {
	one := clone(scale)
	b.Fill(one, 1)
	b.Backend.EMA(dst, src, one, momentum)
}

type takesAll struct{ *ref.Backend }

func (b takesAll) EMA(dst, src, scale *tensor.Tensor, momentum float64) {
	if v := scale.At(0); v == v {
		momentum = 0
	}
	b.Backend.EMA(dst, src, scale, momentum)
}

type truncates struct{ *ref.Backend }

func (b truncates) Copy(dst, src *tensor.Tensor) {
	b.Backend.Copy(dst, src)
	if dst.DType() == tensor.BF16 && src.DType() == tensor.F32 {
		for i, v := range src.F32() {
			dst.BF16()[i] = uint16(math.Float32bits(v) >> 16)
		}
	}
}

type lastRow struct{ *ref.Backend }

func (b lastRow) ColSum(out, x *tensor.Tensor, scale float64, accumulate bool) {
	if rows := x.Dim(0); rows > 1 {
		x = x.Rows(0, rows-1)
	}
	b.Backend.ColSum(out, x, scale, accumulate)
}

type unbiased struct{ *ref.Backend }

func (b unbiased) ColMoments(mean, variance, x *tensor.Tensor) {
	b.Backend.ColMoments(mean, variance, x)
	rows := float64(x.Dim(0))
	b.Scale(variance, rows/math.Max(1, rows-1))
}

type lastOfEquals struct{ *ref.Backend }

func (b lastOfEquals) NearestRows(index, dots *tensor.Tensor) {
	b.Backend.NearestRows(index, dots)
	n := dots.Dim(1)
	for i, best := range index.I32() {
		for j := range n {
			if best >= 0 && j != i && dots.At(i*n+j) == dots.At(i*n+int(best)) {
				index.I32()[i] = int32(j)
			}
		}
	}
}

type keepsDuplicates struct{ *ref.Backend }

func (b keepsDuplicates) KoLeo(loss, dx, x, index *tensor.Tensor, eps, _, weight float64) {
	b.Backend.KoLeo(loss, dx, x, index, eps, 0, weight)
}

type oneEnd struct{ *ref.Backend }

func (b oneEnd) KoLeo(loss, dx, x, index *tensor.Tensor, eps, minDist, weight float64) {
	n, d := kernels.Matrix(x)
	for i := range n {
		one := tensor.Zeros(tensor.I32, n)
		for j := range n {
			one.I32()[j] = -1
		}
		one.I32()[i] = index.I32()[i]
		l, g := clone(loss), clone(dx)
		b.Backend.KoLeo(l, g, x, one, eps, minDist, weight)
		loss.Set(i, l.At(i))
		for c := range d {
			dx.Set(i*d+c, g.At(i*d+c))
		}
	}
}

type leavesAbsent struct{ *ref.Backend }

func (b leavesAbsent) GatherRows(out, table, index *tensor.Tensor, accumulate bool) {
	stale := clone(out)
	b.Backend.GatherRows(out, table, index, accumulate)
	for i, from := range index.I32() {
		if from < 0 {
			b.Copy(out.Rows(i, i+1), stale.Rows(i, i+1))
		}
	}
}

type lateRow struct{ *ref.Backend }

func (b lateRow) ScatterRows(dtable, dout, starts, rows *tensor.Tensor, accumulate bool) {
	starts = clone(starts)
	for r := range starts.Len() - 1 {
		if s := starts.I32(); s[r] < s[r+1] {
			s[r]++
		}
	}
	b.Backend.ScatterRows(dtable, dout, starts, rows, accumulate)
}

type noOffset struct{ *ref.Backend }

func (b noOffset) Dropout(out, x *tensor.Tensor, p float64, seed uint64, _ uint32) {
	b.Backend.Dropout(out, x, p, seed, 0)
}

type channelsInner struct{ *ref.Backend }

func (b channelsInner) Patchify(out, images *tensor.Tensor, p int) {
	b.Backend.Patchify(out, images, p)
	rows, channels := out.Dim(0), images.Dim(1)
	old := clone(out)
	for r := range rows {
		for c := range channels {
			for i := range p * p {
				out.Set((r*p*p+i)*channels+c, old.At((r*channels+c)*p*p+i))
			}
		}
	}
}

// dropsNaN takes the maximum as processors do.
type dropsNaN struct{ *ref.Backend }

func (b dropsNaN) ActForward(out, x *tensor.Tensor, act kernels.Activation) {
	b.Backend.ActForward(out, x, act)
	for i := range out.Len() {
		if v := out.At(i); act == kernels.ReLU && v != v {
			out.Set(i, 0)
		}
	}
}

type skipsEmpty struct{ *ref.Backend }

func (b skipsEmpty) ColSumExp(out, x, centre, lse *tensor.Tensor, invTemp float64) {
	if lse.Len() > 0 {
		b.Backend.ColSumExp(out, x, centre, lse, invTemp)
	}
}

// fewDigits has an exponential of 15 bits.
type fewDigits struct{ *ref.Backend }

func (b fewDigits) SoftmaxRows(p, x, centre, lse *tensor.Tensor, invTemp float64) {
	b.Backend.SoftmaxRows(p, x, centre, lse, invTemp)
	b.Scale(p, 1+0x1p-15)
}

// overflows takes silu as x·e^x/(1+e^x).
type overflows struct{ *ref.Backend }

func (b overflows) ActForward(out, x *tensor.Tensor, act kernels.Activation) {
	if act != kernels.SiLU {
		b.Backend.ActForward(out, x, act)
		return
	}
	for i := range x.Len() {
		e := float64(float32(math.Exp(x.At(i))))
		out.Set(i, x.At(i)*e/(1+e))
	}
}

type swapsHalves struct{ *ref.Backend }

func (b swapsHalves) SwiGLU(out, x *tensor.Tensor) {
	rows, h := kernels.Matrix(out)
	swapped := clone(x)
	for r := range rows {
		for j := range 2 * h {
			swapped.Set(r*2*h+j, x.At(r*2*h+(j+h)%(2*h)))
		}
	}
	b.Backend.SwiGLU(out, swapped)
}
