package ptx_test

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/optest"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/tensor"
)

// mutant is one hand-made fault: the nth match of a pattern inside a kernel's PTX, replaced; every match where nth is 0.
type mutant struct {
	name, file, kernel string
	pattern            string
	nth                int
	replace            string
	scenario           string
}

// broken is a driver that loads one module with a fault in it.
type broken struct {
	*ptx.Driver
	m       *mutant
	applied bool
}

func (d *broken) Load(name, src string) (gpu.Module, error) {
	if name == d.m.file {
		begin := strings.Index(src, ".entry "+d.m.kernel+"(")
		if begin < 0 {
			return nil, fmt.Errorf("no kernel %s", d.m.kernel)
		}
		end := begin + strings.Index(src[begin:], "-- End function")
		body := src[begin:end]
		re := regexp.MustCompile(d.m.pattern)
		found := re.FindAllStringSubmatchIndex(body, -1)
		if len(found) < d.m.nth {
			return nil, fmt.Errorf("%d matches of %q in %s, want %d", len(found), d.m.pattern, d.m.kernel, d.m.nth)
		}
		if d.m.nth > 0 {
			at := found[d.m.nth-1]
			body = body[:at[0]] + string(re.ExpandString(nil, d.m.replace, body, at)) + body[at[1]:]
		} else {
			body = re.ReplaceAllString(body, d.m.replace)
		}
		src = src[:begin] + body + src[end:]
		d.applied = len(found) > 0
	}
	return d.Driver.Load(name, src)
}

// scenarios run operations on shapes that cross tile edges and return the bytes of the outputs.
var scenarios = map[string]func(b *cuda.Backend) ([]byte, error){
	"gemm nt":   func(b *cuda.Backend) ([]byte, error) { return gemmScenario(b, tensor.BF16, false, true) },
	"gemm tn":   func(b *cuda.Backend) ([]byte, error) { return gemmScenario(b, tensor.BF16, true, false) },
	"gemm f32":  func(b *cuda.Backend) ([]byte, error) { return gemmScenario(b, tensor.F32, false, false) },
	"attention": attentionScenario,
	"rows":      rowsScenario,
	"losses":    lossScenario,
	"moves":     moveScenario,
	"optim":     optimScenario,
}

// scene collects tensors of one scenario.
type scene struct {
	b    *cuda.Backend
	n    uint32
	outs []*tensor.Tensor
}

func (s *scene) random(dtype tensor.DType, shape ...int) *tensor.Tensor {
	s.n++
	host := tensor.Zeros(dtype, shape...)
	r := tensor.NewRand(11, s.n, 0, 1<<24)
	for i := range host.Len() {
		host.Set(i, r.Norm())
	}
	return s.upload(host)
}

func (s *scene) upload(host *tensor.Tensor) *tensor.Tensor {
	d, err := tensor.New(s.b.Allocator(), host.DType(), host.Shape()...)
	if err != nil {
		panic(err)
	}
	s.b.Upload(d, host)
	return d
}

func (s *scene) ints(v ...int32) *tensor.Tensor { return s.upload(tensor.FromI32(v, len(v))) }

// out is an output: random content, so that a missing write shows.
func (s *scene) out(dtype tensor.DType, shape ...int) *tensor.Tensor {
	t := s.random(dtype, shape...)
	s.outs = append(s.outs, t)
	return t
}

func (s *scene) result() ([]byte, error) {
	if err := s.b.Sync(); err != nil {
		return nil, err
	}
	var all []byte
	for _, t := range s.outs {
		host := tensor.Zeros(t.DType(), t.Shape()...)
		s.b.Download(host, t)
		all = append(all, host.Bytes()...)
	}
	return all, s.b.Sync()
}

func gemmScenario(b *cuda.Backend, dtype tensor.DType, ta, tb bool) ([]byte, error) {
	s := &scene{b: b}
	const m, n, k = 136, 72, 200
	g := kernels.Gemm{M: m, N: n, K: k, TransA: ta, TransB: tb, Act: kernels.GELU, Bias: s.random(tensor.F32, n), Out: s.out(dtype, m, n), Pre: s.out(dtype, m, n)}
	g.A, g.B = s.random(dtype, m, k), s.random(dtype, k, n)
	if ta {
		g.A = s.random(dtype, k, m)
	}
	if tb {
		g.B = s.random(dtype, n, k)
	}
	b.Gemm(g)
	// The same with a residual, and a long thin product whose sum over k is split.
	g.Pre, g.Residual, g.Out = nil, g.Out, s.out(dtype, m, n)
	b.Gemm(g)
	thin := kernels.Gemm{M: 24, N: 16, K: 2100, TransA: true, A: s.random(dtype, 2100, 24), B: s.random(dtype, 2100, 16), Out: s.out(dtype, 24, 16)}
	b.Gemm(thin)
	return s.result()
}

func attentionScenario(b *cuda.Backend) ([]byte, error) {
	s := &scene{b: b}
	starts := []int32{0, 70, 71, 200}
	const tokens, d, heads = 200, 64, 2
	a := kernels.Attention{Out: s.out(tensor.BF16, tokens, heads*d), LSE: s.out(tensor.F32, heads, tokens), QKV: s.random(tensor.BF16, tokens, 3*heads*d),
		Seqs: kernels.Sequences{Starts: s.ints(starts...), Host: starts, MaxLen: 129}, Heads: heads, Scale: 0.125}
	b.Attention(a)
	b.AttentionBackward(kernels.AttentionGrad{Attention: a, DOut: s.random(tensor.BF16, tokens, heads*d), DQKV: s.out(tensor.BF16, tokens, 3*heads*d), Delta: s.out(tensor.F32, heads, tokens)})
	return s.result()
}

func rowsScenario(b *cuda.Backend) ([]byte, error) {
	s := &scene{b: b}
	for _, c := range []struct{ rows, cols int }{{13, 264}, {3, 2056}} {
		x, dy := s.random(tensor.BF16, c.rows, c.cols), s.random(tensor.BF16, c.rows, c.cols)
		gamma, beta := s.random(tensor.F32, c.cols), s.random(tensor.F32, c.cols)
		y, mean, rstd := s.out(tensor.BF16, c.rows, c.cols), s.out(tensor.F32, c.rows), s.out(tensor.F32, c.rows)
		b.LayerNorm(y, mean, rstd, x, gamma, beta, 1e-6)
		b.LayerNormBackward(s.out(tensor.BF16, c.rows, c.cols), s.out(tensor.F32, c.cols), s.out(tensor.F32, c.cols), dy, x, mean, rstd, gamma, false)
		norm := s.out(tensor.F32, c.rows)
		b.L2Normalize(y, norm, x, 1e-12)
		b.L2NormalizeBackward(s.out(tensor.BF16, c.rows, c.cols), dy, y, norm, 1e-12)
		b.ColSum(s.out(tensor.F32, c.cols), x, 0.5, false)
		b.LayerScaleBackward(s.out(tensor.F32, c.rows, c.cols), s.out(tensor.F32, c.rows), s.out(tensor.F32, c.rows), s.random(tensor.F32, c.rows, c.cols),
			s.random(tensor.F32, c.rows), x, s.random(tensor.F32, c.rows), s.random(tensor.F32, c.rows))
	}
	b.ColSum(s.out(tensor.F32, 24), s.random(tensor.BF16, 300, 24), 0.5, false)
	return s.result()
}

func lossScenario(b *cuda.Backend) ([]byte, error) {
	s := &scene{b: b}
	for _, k := range []int{132, 2052} {
		x, y := s.random(tensor.BF16, 5, k), s.random(tensor.BF16, 3, k)
		sl, tl, centre := s.out(tensor.F32, 5), s.out(tensor.F32, 3), s.random(tensor.F32, k)
		b.RowLogSumExp(sl, x, nil, 10)
		b.RowLogSumExp(tl, y, centre, 20)
		b.CrossEntropy(kernels.CrossEntropy{Loss: s.out(tensor.F32, 6), DS: s.out(tensor.BF16, 5, k), S: x, SLSE: sl, T: y, TLSE: tl, Centre: centre,
			SInvTemp: 10, TInvTemp: 20, Starts: s.ints(0, 2, 2, 3, 5, 6), Rows: s.ints(0, 1, 2, 0, 2, 1), Weights: s.random(tensor.F32, 6)})
		b.ColSumExp(s.out(tensor.F32, k), y, centre, tl, 20)
	}
	dots := s.random(tensor.F32, 37, 37)
	index := s.upload(tensor.Zeros(tensor.I32, 37))
	s.outs = append(s.outs, index)
	b.NearestRows(index, dots)
	b.KoLeo(s.out(tensor.F32, 37), s.out(tensor.F32, 37, 20), s.random(tensor.F32, 37, 20), index, 1e-8, 1e-6, 1)
	return s.result()
}

func moveScenario(b *cuda.Backend) ([]byte, error) {
	s := &scene{b: b}
	b.GatherRows(s.out(tensor.BF16, 5, 33), s.random(tensor.BF16, 4, 33), s.ints(2, -1, 0, 3, 3), false)
	b.ScatterRows(s.out(tensor.BF16, 4, 33), s.random(tensor.BF16, 5, 33), s.ints(0, 1, 1, 2, 4), s.ints(2, 0, 3, 4), false)
	qkv := s.out(tensor.BF16, 7, 3*2*10)
	b.RoPE(qkv, s.random(tensor.F32, 4, 5), s.random(tensor.F32, 4, 5), s.ints(0, -1, 3, 2, 1, -1, 0), 2, false)
	b.Patchify(s.out(tensor.BF16, 2*2*3, 3*4*4), s.random(tensor.F32, 2, 3, 9, 13), 4)
	b.Scale(s.out(tensor.BF16, 301), 1.5)
	b.Sum(s.out(tensor.F32, 1), s.random(tensor.BF16, 301), 1, false)
	return s.result()
}

func optimScenario(b *cuda.Backend) ([]byte, error) {
	s := &scene{b: b}
	p := &kernels.ParamTable{Groups: 2}
	for i, n := range []int{300, 16384 + 77} {
		e := kernels.ParamEntry{Param: s.out(tensor.F32, n), Grad: s.random(tensor.BF16, n), M: s.out(tensor.F32, n), V: s.upload(tensor.Zeros(tensor.F32, n)),
			EMA: s.out(tensor.F32, n), Half: s.out(tensor.BF16, n), EMA16: s.out(tensor.BF16, n), LRMul: 1, WDMul: 1, Group: i}
		s.outs = append(s.outs, e.V)
		p.Entries = append(p.Entries, e)
	}
	squares, scale, missed := s.out(tensor.F32, 2), s.out(tensor.F32, 2), s.out(tensor.F32, 1)
	b.GradSquares(squares, p)
	b.Guard(kernels.Guard{Scale: scale, Missed: missed, Squares: squares, Losses: s.random(tensor.F32, 3), MaxNorm: 3})
	b.EMA(s.out(tensor.F32, 1100), s.random(tensor.F32, 1100), scale, 0.9)
	b.AdamW(p, scale, kernels.AdamWStep{Step: 3, Missed: missed, LR: 1e-2, WD: 0.1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Momentum: 0.9})
	return s.result()
}

const (
	mmaA = `(mma\.sync[^{]*\{[^}]*\}, )\{([^,]*), ?([^,]*), ?([^,]*), ?([^}]*)\}`
	mmaB = `(mma\.sync[^{]*\{[^}]*\}, \{[^}]*\}, )\{([^,]*), ?([^}]*)\}`
	ldm4 = `(ldmatrix[^{]*)\{([^,]*), ?([^,]*), ?([^,]*), ?([^}]*)\}`
)

var mutants = []mutant{
	// synchronisation
	{"gemm: barrier of the main loop dropped", "gemm", "gemm_v2_nt", `bar\.sync\s+0;`, 1, "", "gemm nt"},
	{"gemm: barrier before the epilogue dropped", "gemm", "gemm_v2_nt", `bar\.sync\s+0;`, 2, "", "gemm nt"},
	{"gemm: epilogue reads before the warp is together", "gemm", "gemm_v2_nt", `bar\.warp\.sync\s+-1;`, 1, "", "gemm nt"},
	{"gemm: waits for one stage too few", "gemm", "gemm_v2_nt", `cp\.async\.wait_group 2`, 1, "cp.async.wait_group 3", "gemm nt"},
	{"gemm: does not wait at all", "gemm", "gemm_v2_tn", `cp\.async\.wait_group 2;`, 1, "", "gemm tn"},
	{"gemm: first stage not committed", "gemm", "gemm_v2_nt", `cp\.async\.commit_group;`, 1, "", "gemm nt"},
	{"gemm: loop stage not committed", "gemm", "gemm_v2_nt", `cp\.async\.commit_group;`, 4, "", "gemm nt"},
	{"gemm v1: first barrier dropped", "gemm", "gemm_v1_f32", `bar\.sync\s+0;`, 1, "", "gemm f32"},
	{"gemm v1: second barrier dropped", "gemm", "gemm_v1_f32", `bar\.sync\s+0;`, 2, "", "gemm f32"},
	{"attention: barrier after the wait dropped", "attention_v2", "attention_v2_64", `bar\.sync\s+0;`, 1, "", "attention"},
	{"attention: stage reused without a barrier", "attention_v2", "attention_v2_64", `bar\.sync\s+0;`, 2, "", "attention"},
	{"attention: waits for one stage too few", "attention_v2", "attention_v2_64", `cp\.async\.wait_group 1`, 1, "cp.async.wait_group 2", "attention"},
	{"attention: output read before the warp is together", "attention_v2", "attention_v2_64", `bar\.warp\.sync\s+-1;`, 1, "", "attention"},
	{"attention dkv: barrier after the wait dropped", "attention_v2", "attention_dkv_v2_64", `bar\.sync\s+0;`, 1, "", "attention"},
	{"attention dkv: stage reused without a barrier", "attention_v2", "attention_dkv_v2_64", `bar\.sync\s+0;`, 2, "", "attention"},
	{"attention dq: waits for one stage too few", "attention_v2", "attention_dq_v2_64", `cp\.async\.wait_group 1`, 1, "cp.async.wait_group 2", "attention"},
	{"layer norm: barrier of the block sum dropped", "rows", "layer_norm_bf16v", `bar\.sync\s+0;`, 1, "", "rows"},
	{"layer norm: scratch reused without a barrier", "rows", "layer_norm_bf16v", `bar\.sync\s+0;`, 2, "", "rows"},
	{"layer norm backward: gamma read before it is there", "rows", "layer_norm_backward_bf16v", `bar\.sync\s+0;`, 1, "", "rows"},
	{"layer norm backward: barrier of the row sums dropped", "rows", "layer_norm_backward_bf16v", `bar\.sync\s+0;`, 2, "", "rows"},
	{"layer norm backward: barrier before the partial sums dropped", "rows", "layer_norm_backward_bf16v", `bar\.sync\s+0;`, 4, "", "rows"},
	{"column reduction: barrier dropped", "reduce", "col_reduce", `bar\.sync\s+0;`, 1, "", "rows"},
	{"koleo: barrier of a pair's distance dropped", "koleo", "koleo_f32", `bar\.sync\s+0;`, 4, "", "losses"},
	{"cross-entropy: barrier of the block sum dropped", "prototypes", "cross_entropy_bf16v", `bar\.sync\s+0;`, 1, "", "losses"},
	{"row lse: barrier of the block maximum dropped", "prototypes", "row_lse_bf16v", `bar\.sync\s+0;`, 1, "", "losses"},
	{"grad squares: barrier dropped", "optim", "grad_squares_w", `bar\.sync\s+0;`, 1, "", "optim"},
	// bounds
	{"scale: one element too many", "elementwise", "scale_bf16", `setp\.ge\.s32`, 1, "setp.gt.s32", "moves"},
	{"gather: one row too many", "gather", "gather_bf16_bf16", `setp\.ge\.s32`, 1, "setp.gt.s32", "moves"},
	{"gather: index -1 not tested", "gather", "gather_bf16_bf16", `setp\.lt\.s32\s+(%p\d+), (%r\d+), 0`, 1, "setp.lt.s32 $1, $2, -1", "moves"},
	{"rope: index -1 not tested", "gather", "rope_bf16", `setp\.lt\.s64\s+(%p\d+), (%rd\d+), 0`, 1, "setp.lt.s64 $1, $2, -1", "moves"},
	{"layer norm backward: one column group too many", "rows", "layer_norm_backward_bf16v", `setp\.lt\.s32`, 2, "setp.le.s32", "rows"},
	{"layer norm backward: one row too many", "rows", "layer_norm_backward_bf16v", `setp\.lt\.s32`, 4, "setp.le.s32", "rows"},
	{"koleo: reads past the neighbours", "koleo", "koleo_f32", `setp\.ge\.s32`, 5, "setp.gt.s32", "losses"},
	{"column sum: one column group too many", "reduce", "col_sum_bf16v", `setp\.ge\.s32`, 1, "setp.gt.s32", "rows"},
	{"nearest rows: reads past the row", "koleo", "nearest_rows_f32", `setp\.lt\.s32(\s+%p\d+, %r\d+, %r\d+;)`, 1, "setp.le.s32$1", "losses"},
	{"gemm: one row too many in the epilogue", "gemm", "gemm_v2_nt", `setp\.lt\.u32`, 1, "setp.le.u32", "gemm nt"},
	{"gemm: copies 16 bytes where 0 are in range", "gemm", "gemm_v2_nt", `selp\.b32\s+(%r\d+), (%r\d+), 0, `, 1, "selp.b32 $1, $2, 16, ", "gemm nt"},
	{"attention: one key past the sequence counts", "attention_v2", "attention_v2_64", `setp\.lt\.s32(\s+%p\d+, %r\d+, %r2;)`, 12, "setp.le.s32$1", "attention"},
	{"optimiser: one element too many", "optim", "adamw", `setp\.lt\.s32(\s+%p\d+, %r\d+, %r\d+;\s+@%p\d+ bra)`, 2, "setp.le.s32$1", "optim"},
	// swizzles, fragments and operands
	{"gemm: wrong swizzle on the way in", "gemm", "gemm_v2_nt", `xor\.b32`, 1, "or.b32", "gemm nt"},
	{"gemm: wrong swizzle on the way out", "gemm", "gemm_v2_nt", `xor\.b32`, 9, "or.b32", "gemm nt"},
	{"gemm: a fragments 1 and 2 swapped", "gemm", "gemm_v2_nt", mmaA, 1, "$1{$2, $4, $3, $5}", "gemm nt"},
	{"gemm: b fragments swapped", "gemm", "gemm_v2_tn", mmaB, 5, "$1{$3, $2}", "gemm tn"},
	{"gemm: matrices of ldmatrix swapped", "gemm", "gemm_v2_nt", ldm4, 3, "$1{$3, $2, $4, $5}", "gemm nt"},
	{"gemm: transposed load forgotten", "gemm", "gemm_v2_tn", `\.x4\.trans`, 2, ".x4", "gemm tn"},
	{"attention: transposed load forgotten", "attention_v2", "attention_v2_64", `\.x4\.trans`, 3, ".x4", "attention"},
	{"attention: probabilities as wrong fragments", "attention_v2", "attention_v2_64", mmaA, 40, "$1{$2, $4, $3, $5}", "attention"},
	{"attention: maximum over the wrong lanes", "attention_v2", "attention_v2_64", `(shfl\.sync\.bfly\.b32\s+%\w+, %\w+, )(%r\d+|1|2),`, 1, "${1}4,", "attention"},
	{"attention dkv: k and v fragments swapped", "attention_v2", "attention_dkv_v2_64", mmaB, 3, "$1{$3, $2}", "attention"},
	{"attention dq: wrong swizzle", "attention_v2", "attention_dq_v2_64", `xor\.b32`, 3, "or.b32", "attention"},
	{"layer norm: half of the warp left out of a sum", "rows", "layer_norm_bf16v", `(shfl\.sync\.bfly\.b32\s+%\w+, %\w+, )(%r\d+|16),`, 1, "${1}8,", "rows"},
	{"shuffle names lanes that do not exist", "rows", "layer_norm_bf16v", `(shfl\.sync\.bfly\.b32\s+[^;]*), -1;`, 1, "$1, 65535;", "rows"},
	{"optimiser: half of a number stored", "optim", "adamw", `st\.f32`, 1, "st.u16", "optim"},
}

// operations are what a scenario runs, under their names in the operations' table.
var operations = map[string][]string{
	"gemm nt": {"Gemm"}, "gemm tn": {"Gemm"}, "gemm f32": {"Gemm"}, "attention": {"Attention", "AttentionBackward"},
	"rows":   {"LayerNorm", "LayerNormBackward", "L2Normalize", "L2NormalizeBackward", "ColSum", "LayerScaleBackward"},
	"losses": {"RowLogSumExp", "CrossEntropy", "ColSumExp", "NearestRows", "KoLeo"},
	"moves":  {"GatherRows", "ScatterRows", "RoPE", "Patchify", "Scale", "Sum"},
	"optim":  {"GradSquares", "Guard", "AdamW", "EMA"},
}

// failingCase is the first row of the operations' table that a kernel with the fault does not pass, "" if it passes all.
func failingCase(m *mutant) string {
	d := &broken{Driver: ptx.NewDriver(1<<30, 1), m: m}
	d.Machine.MaxInstructions = 50_000_000
	first := ""
	optest.Walk(cuda.New(d, cuda.Versions{}), func(c optest.Case) bool {
		if c.Err != nil {
			first = fmt.Sprintf("%s/%s/%s: %v", c.Op, c.Type, c.Row, c.Err)
		}
		return c.Err == nil
	}, optest.MaxWork(20_000_000), optest.Types(tensor.BF16, tensor.F32), optest.Only(operations[m.scenario]...))
	return first
}

// TestMutants makes one fault at a time in the shipped PTX. The sanitizer must show at least 95 of 100; or, where the
// memory is used by the rules and only the numbers are wrong, the operations' table by its tolerance.
func TestMutants(t *testing.T) {
	t.Parallel()
	sound := map[string][]byte{}
	for name, run := range scenarios {
		got, err := run(cuda.New(ptx.NewDriver(1<<30, 1), cuda.Versions{}))
		if err != nil {
			t.Fatalf("%s without a fault: %v", name, err)
		}
		sound[name] = got
	}
	shown := make([]verdict, len(mutants))
	for i := range mutants {
		m := &mutants[i]
		d := &broken{Driver: ptx.NewDriver(1<<30, 1), m: m}
		d.Machine.MaxInstructions = 50_000_000
		got, err := scenarios[m.scenario](cuda.New(d, cuda.Versions{}))
		shown[i] = verdict{fault: m.name, kernel: m.kernel}
		switch {
		case !d.applied:
			t.Errorf("%s: not applied: %v", m.name, err)
			continue
		case errors.As(err, &shown[i].findings):
		case err != nil:
			// The interpreter refused the kernel before it ran: that shows nothing about the sanitizer.
			t.Errorf("%s: no finding but an error: %v", m.name, err)
		case !bytes.Equal(got, sound[m.scenario]):
			shown[i].row = failingCase(m)
		}
		t.Logf("%s: %.160s", m.name, shown[i].how())
	}
	caught := faultFigures("Faults", "One fault at a time, made by hand in the shipped PTX", shown)
	t.Logf("%d of %d caught", caught, len(mutants))
	if caught*100 < len(mutants)*95 {
		t.Errorf("%d of %d faults caught, want at least 95 %%", caught, len(mutants))
	}
}

// verdict is what became of one fault: the sanitizer's findings or, without any, the row that showed a wrong result.
type verdict struct {
	fault, kernel string
	findings      ptx.Findings
	row           string
}

func (v *verdict) caught() bool { return len(v.findings) > 0 || v.row != "" }

func (v *verdict) how() string {
	switch {
	case len(v.findings) > 0:
		return fmt.Sprintf("sanitizer: %s", v.findings[0].Kind)
	case v.row != "":
		return "result: " + v.row
	}
	return "NOT CAUGHT"
}

// faultFigures keeps a section of the report and returns how many faults were caught.
func faultFigures(title, what string, shown []verdict) int {
	var table strings.Builder
	caught, byTool := 0, 0
	for i := range shown {
		v := &shown[i]
		if v.caught() {
			caught++
		}
		if len(v.findings) > 0 {
			byTool++
		}
		how, _, _ := strings.Cut(v.how(), "/")
		fmt.Fprintf(&table, "| %s | %s | %s |\n", v.fault, v.kernel, how)
	}
	rest := ""
	if byTool < caught {
		rest = ", the others by a wrong result"
	}
	ptx.Figure(title, fmt.Sprintf("%s: %d of %d caught, %d of them by the sanitizer%s.\n\n| fault | kernel | caught by |\n|---|---|---|\n%s", what, caught, len(shown), byTool, rest, table.String()))
	return caught
}
