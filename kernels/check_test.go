package kernels

import (
	"strings"
	"testing"

	"github.com/dino-mx/dmx/tensor"
)

// arguments is one valid set of operands of every operation; the tests below break them one at a time.
type arguments struct {
	x, y, rows, cols, wide, w, one *tensor.Tensor
	gemm                           Gemm
	att                            AttentionGrad
	cross                          CrossEntropy
	table                          *ParamTable
	index, starts                  *tensor.Tensor
	queries, probs                 *tensor.Tensor
	square, cos, images, patches   *tensor.Tensor
	scales                         *tensor.Tensor
}

func valid() *arguments {
	f := func(shape ...int) *tensor.Tensor { return tensor.Zeros(tensor.F32, shape...) }
	i := func(v ...int32) *tensor.Tensor { return tensor.FromI32(v, len(v)) }
	host := []int32{0, 2, 4}
	a := &arguments{
		x: f(4, 6), y: f(4, 6), rows: f(4), cols: f(6), wide: f(4, 12), w: f(6, 6), one: f(1),
		index: i(0, 1, -1, 2), starts: i(0, 1, 2, 3, 4), queries: i(0, 3), probs: f(2, 1, 2),
		square: f(4, 4), cos: f(3, 1), images: f(1, 3, 4, 4), patches: f(4, 12), scales: f(2),
	}
	a.gemm = Gemm{M: 4, N: 6, K: 6, A: a.x, B: a.w, Out: a.y, Bias: a.cols, Gamma: a.cols, RowScale: a.rows, Residual: a.y, Pre: f(4, 6), GradOf: f(4, 6)}
	a.att = AttentionGrad{
		Attention: Attention{Out: f(4, 2), LSE: f(1, 4), QKV: f(4, 6), Heads: 1, Scale: 1, Seqs: Sequences{Starts: i(host...), Host: host, MaxLen: 2}},
		DOut:      f(4, 2), DQKV: f(4, 6), Delta: f(1, 4),
	}
	a.cross = CrossEntropy{Loss: f(4), DS: f(4, 6), S: a.x, SLSE: a.rows, T: a.y, TLSE: a.rows, Centre: a.cols, Starts: a.starts, Rows: i(0, 1, 2, 3), Weights: f(4)}
	half := tensor.Zeros(tensor.BF16, 5)
	a.table = &ParamTable{Groups: 2, Entries: []ParamEntry{
		{Param: f(5), Grad: half, M: f(5), V: f(5), EMA: f(5), Half: half, EMA16: half, Group: 1},
		{Param: f(7), EMA: f(7), Frozen: true},
	}}
	return a
}

// all calls every check.
func (a *arguments) all() {
	CheckTransfer("Upload", a.y, a.x)
	CheckFill(a.x)
	CheckCopy(a.y, a.x)
	CheckAxpy(a.y, a.x)
	CheckScale(a.x)
	CheckScaleRowsCols(a.y, a.x, a.rows, a.cols)
	CheckDropout(a.y, a.x, 0.5)
	CheckGemm(a.gemm)
	CheckColSum(a.cols, a.x)
	CheckLayerScaleBackward(a.x, a.rows, a.rows, a.x, a.rows, a.y, a.rows, a.rows)
	CheckActForward(a.y, a.x, GELU)
	CheckActBackward(a.y, a.x, a.x, Tanh)
	CheckSwiGLU(a.x, a.wide)
	CheckSwiGLUBackward(a.wide, a.x, a.wide)
	CheckLayerNorm(a.y, a.rows, a.rows, a.x, a.cols, a.cols)
	CheckLayerNormBackward(a.y, a.cols, a.cols, a.x, a.x, a.rows, a.rows, a.cols)
	CheckL2Normalize(a.y, a.rows, a.x)
	CheckL2NormalizeBackward(a.y, a.x, a.x, a.rows)
	CheckWeightNorm(a.y, a.rows, a.x, a.rows)
	CheckWeightNormBackward(a.y, a.rows, a.x, a.x, a.rows, a.rows)
	CheckAttention(a.att.Attention)
	CheckAttentionBackward(a.att)
	CheckAttentionRows(a.probs, a.queries, a.att.Attention)
	CheckRoPE(a.x, a.cos, a.cos, a.index, 1)
	CheckPatchify(a.patches, a.images, 2)
	CheckGatherRows(a.y, a.x, a.index)
	CheckScatterRows(a.y, a.x, a.starts, a.index)
	CheckRowLogSumExp(a.rows, a.x, a.cols)
	CheckColSumExp(a.cols, a.x, nil, a.rows)
	CheckSoftmaxRows(a.x, a.x, a.cols, a.rows)
	CheckSinkhornCentre(a.cols, a.cols)
	CheckCrossEntropy(a.cross)
	CheckEntropy(a.one, a.x)
	CheckNearestRows(a.index, a.square)
	CheckKoLeo(a.rows, a.y, a.x, a.index)
	CheckMSE(a.one, a.y, a.x, a.x)
	CheckSum(a.one, a.x)
	CheckColMoments(a.cols, a.cols, a.x)
	CheckGradSquares(a.scales, a.table)
	CheckGuard(Guard{Scale: a.scales, Missed: a.one, Squares: a.scales, Losses: a.one})
	CheckEMA(a.scales, a.scales, a.one)
	CheckAdamW(a.table, a.scales, AdamWStep{Step: 1})
}

func TestValidArgumentsPassWithoutAllocation(t *testing.T) {
	a := valid()
	if n := testing.AllocsPerRun(10, a.all); n != 0 {
		t.Errorf("the checks allocate %v times", n)
	}
}

func TestWrongArgumentsPanicWithBothShapes(t *testing.T) {
	f := func(shape ...int) *tensor.Tensor { return tensor.Zeros(tensor.F32, shape...) }
	h := func(shape ...int) *tensor.Tensor { return tensor.Zeros(tensor.BF16, shape...) }
	a := valid()
	tests := []struct {
		name string
		call func()
		want []string
	}{
		{"upload length", func() { CheckTransfer("Upload", a.x, f(5)) }, []string{"Upload", "f32[5]", "f32[4 6]"}},
		{"upload type", func() { CheckTransfer("Upload", a.x, h(4, 6)) }, []string{"Upload", "bf16[4 6]", "f32[4 6]"}},
		{"fill nil", func() { CheckFill(nil) }, []string{"Fill", "dst is nil"}},
		{"fill type", func() { CheckFill(a.index) }, []string{"Fill", "i32[4]"}},
		{"axpy", func() { CheckAxpy(a.x, a.rows) }, []string{"Axpy", "f32[4]", "f32[4 6]"}},
		{"rows", func() { CheckScaleRowsCols(a.y, a.x, a.cols, nil) }, []string{"ScaleRowsCols", "row f32[6]", "f32[4 6]"}},
		{"dropout p", func() { CheckDropout(a.y, a.x, 1) }, []string{"Dropout", "p is 1", "f32[4 6]"}},
		{"gemm A", func() { g := a.gemm; g.TransA = true; CheckGemm(g) }, []string{"Gemm", "A f32[4 6]", "M 4, N 6, K 6", "B f32[6 6]"}},
		{"gemm columns", func() { g := a.gemm; g.BCol = 1; CheckGemm(g) }, []string{"Gemm", "B f32[6 6]", "1:7"}},
		{"gemm negative column", func() { g := a.gemm; g.OutCol = -1; CheckGemm(g) }, []string{"Gemm", "Out f32[4 6]"}},
		{"gemm type", func() { g := a.gemm; g.B = h(6, 6); CheckGemm(g) }, []string{"Gemm", "B bf16[6 6]", "A f32[4 6]"}},
		{"gemm bias", func() { g := a.gemm; g.Bias = f(5); CheckGemm(g) }, []string{"Gemm", "Bias f32[5]", "Out f32[4 6]"}},
		{"gemm residual", func() { g := a.gemm; g.Residual = f(4, 5); CheckGemm(g) }, []string{"Gemm", "Residual f32[4 5]", "Out f32[4 6]"}},
		{"gemm activation", func() { g := a.gemm; g.Act = 99; CheckGemm(g) }, []string{"Gemm", "99"}},
		{"layer scale without c", func() { CheckLayerScaleBackward(a.x, a.rows, a.rows, a.x, nil, a.y, nil, a.rows) }, []string{"LayerScaleBackward", "c is nil"}},
		{"swiglu", func() { CheckSwiGLU(a.x, a.y) }, []string{"SwiGLU", "x f32[4 6]", "[4 12]"}},
		{"layer norm gamma", func() { CheckLayerNorm(a.y, a.rows, a.rows, a.x, a.rows, a.cols) }, []string{"LayerNorm", "gamma f32[4]", "x f32[4 6]"}},
		{"layer norm statistic", func() { CheckLayerNorm(h(4, 6), h(4), a.rows, h(4, 6), a.cols, a.cols) }, []string{"LayerNorm", "mean bf16[4]", "x bf16[4 6]"}},
		{"layer norm half frozen", func() { CheckLayerNormBackward(a.y, a.cols, nil, a.x, a.x, a.rows, a.rows, a.cols) }, []string{"LayerNormBackward", "dbeta is nil"}},
		{"attention heads", func() { b := a.att.Attention; b.Heads = 4; CheckAttention(b) }, []string{"Attention", "f32[4 6]", "4 heads"}},
		{"attention sequences", func() { b := a.att; b.Seqs.Host = []int32{0, 2, 3}; CheckAttentionBackward(b) }, []string{"AttentionBackward", "[0 2 3]", "f32[4 6]"}},
		{"attention longest", func() { b := a.att.Attention; b.Seqs.MaxLen = 3; CheckAttention(b) }, []string{"Attention", "MaxLen is 3", "is 2"}},
		{"attention descends", func() {
			b := a.att.Attention
			b.Seqs.Host = []int32{0, 5, 4}
			CheckAttention(b)
		}, []string{"Attention", "descends at 1"}},
		{"rope", func() { CheckRoPE(a.x, f(3, 2), f(3, 2), a.index, 1) }, []string{"RoPE", "cos f32[3 2]", "qkv f32[4 6]"}},
		{"patchify", func() { CheckPatchify(a.patches, a.images, 3) }, []string{"Patchify", "out f32[4 12]", "images f32[1 3 4 4]"}},
		{"gather index", func() { CheckGatherRows(a.y, a.x, a.starts) }, []string{"GatherRows", "index i32[5]", "out f32[4 6]"}},
		{"scatter starts", func() { CheckScatterRows(a.y, a.x, a.index, a.index) }, []string{"ScatterRows", "starts i32[4]", "dtable f32[4 6]"}},
		{"lse", func() { CheckRowLogSumExp(a.cols, a.x, nil) }, []string{"RowLogSumExp", "lse f32[6]", "x f32[4 6]"}},
		{"cross-entropy prototypes", func() { c := a.cross; c.T = f(4, 5); CheckCrossEntropy(c) }, []string{"CrossEntropy", "T f32[4 5]", "S f32[4 6]"}},
		{"nearest", func() { CheckNearestRows(a.index, a.x) }, []string{"NearestRows", "dots f32[4 6]"}},
		{"adamw group", func() { p := *a.table; p.Groups = 1; CheckAdamW(&p, a.one, AdamWStep{Step: 1}) }, []string{"AdamW", "group 1 of 1"}},
		{"adamw moments", func() {
			p := *a.table
			p.Entries = append([]ParamEntry(nil), p.Entries...)
			p.Entries[0].V = f(4)
			CheckAdamW(&p, a.scales, AdamWStep{Step: 1})
		}, []string{"AdamW", "entry 0", "V f32[4]", "Param f32[5]"}},
		{"adamw missed", func() { CheckAdamW(a.table, a.scales, AdamWStep{Step: 1, Missed: f(2)}) }, []string{"AdamW", "Missed f32[2]"}},
		{"guard scale", func() { CheckGuard(Guard{Scale: f(3), Missed: f(1), Squares: a.scales}) }, []string{"Guard", "Scale f32[3]", "Squares f32[2]"}},
		{"guard missed", func() { CheckGuard(Guard{Scale: a.scales, Squares: a.scales}) }, []string{"Guard", "Missed"}},
		{"ema", func() { CheckEMA(a.scales, f(3), a.one) }, []string{"EMA", "src f32[3]", "dst f32[2]"}},
		{"adamw step", func() { CheckAdamW(a.table, a.scales, AdamWStep{}) }, []string{"AdamW", "step 0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer func() {
				message, _ := recover().(string)
				for _, want := range tt.want {
					if !strings.Contains(message, want) {
						t.Errorf("message %q lacks %q", message, want)
					}
				}
			}()
			tt.call()
		})
	}
}
