package ref

import (
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
	"github.com/sbinet/npyio/npz"
)

// fixtures reads testdata/torch.npz, which make_fixtures.py beside it wrote with PyTorch in float64.
type fixtures struct {
	t *testing.T
	r *npz.Reader
}

func openFixtures(t *testing.T) *fixtures {
	r, err := npz.Open("testdata/torch.npz")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return &fixtures{t, r}
}

func (f *fixtures) shape(name string) []int {
	h := f.r.Header(name + ".npy")
	if h == nil {
		f.t.Fatalf("torch.npz has no %s", name)
	}
	return h.Descr.Shape
}

func (f *fixtures) get(name string) *tensor.Tensor {
	f.t.Helper()
	shape := f.shape(name)
	var data []float64
	if err := f.r.Read(name+".npy", &data); err != nil {
		f.t.Fatalf("%s: %v", name, err)
	}
	return tensor.FromF64(data, shape...)
}

func (f *fixtures) index(name string) *tensor.Tensor {
	f.t.Helper()
	shape := f.shape(name)
	var data []int32
	if err := f.r.Read(name+".npy", &data); err != nil {
		f.t.Fatalf("%s: %v", name, err)
	}
	return tensor.FromI32(data, shape...)
}

// same compares with a fixture; both sides computed in float64, so that only the order of sums differs.
func (f *fixtures) same(got *tensor.Tensor, name string) {
	f.t.Helper()
	want := f.get(name)
	if got.Len() != want.Len() {
		f.t.Fatalf("%s: %s, want %s", name, got, want)
	}
	for i := range want.Len() {
		g, w := got.At(i), want.At(i)
		if !(math.Abs(g-w) <= 1e-12*math.Max(1, math.Abs(w))) {
			f.t.Errorf("%s[%d] = %.17g, PyTorch has %.17g", name, i, g, w)
			return
		}
	}
}

// f64 makes an output; it holds NaN, so that a missing write shows.
func f64(shape ...int) *tensor.Tensor {
	t := tensor.Zeros(tensor.F64, shape...)
	for i := range t.F64() {
		t.F64()[i] = math.NaN()
	}
	return t
}

func zeros(shape ...int) *tensor.Tensor { return tensor.Zeros(tensor.F64, shape...) }

func TestTorchLayerNorm(t *testing.T) {
	f, b := openFixtures(t), New()
	x, gamma := f.get("layer_norm.x"), f.get("layer_norm.gamma")
	y, mean, rstd := f64(5, 12), f64(5), f64(5)
	b.LayerNorm(y, mean, rstd, x, gamma, f.get("layer_norm.beta"), 1e-6)
	f.same(y, "layer_norm.y")
	dx, dgamma, dbeta := f64(5, 12), zeros(12), zeros(12)
	b.LayerNormBackward(dx, dgamma, dbeta, f.get("layer_norm.dy"), x, mean, rstd, gamma, false)
	f.same(dx, "layer_norm.dx")
	f.same(dgamma, "layer_norm.dgamma")
	f.same(dbeta, "layer_norm.dbeta")
}

func TestTorchActivations(t *testing.T) {
	f, b := openFixtures(t), New()
	for name, act := range map[string]kernels.Activation{
		"gelu": kernels.GELU, "gelu_tanh": kernels.GELUTanh, "quick_gelu": kernels.QuickGELU,
		"silu": kernels.SiLU, "relu": kernels.ReLU, "tanh": kernels.Tanh,
	} {
		x := f.get(name + ".x")
		y, dx := f64(x.Len()), f64(x.Len())
		b.ActForward(y, x, act)
		f.same(y, name+".y")
		b.ActBackward(dx, f.get(name+".dy"), x, act)
		f.same(dx, name+".dx")
	}
	y, dx := f64(4, 5), f64(4, 10)
	b.SwiGLU(y, f.get("swiglu.x"))
	f.same(y, "swiglu.y")
	b.SwiGLUBackward(dx, f.get("swiglu.dy"), f.get("swiglu.x"))
	f.same(dx, "swiglu.dx")
}

func TestTorchAttention(t *testing.T) {
	f, b := openFixtures(t), New()
	starts := f.index("attention.starts")
	a := kernels.Attention{
		Out: f64(9, 8), LSE: f64(2, 9), QKV: f.get("attention.qkv"), Heads: 2, Scale: 0.5,
		Seqs: kernels.Sequences{Starts: starts, Host: starts.I32(), MaxLen: 5},
	}
	b.Attention(a)
	f.same(a.Out, "attention.out")
	f.same(a.LSE, "attention.lse")
	dqkv := f64(9, 24)
	b.AttentionBackward(kernels.AttentionGrad{Attention: a, DOut: f.get("attention.dout"), DQKV: dqkv, Delta: f64(2, 9)})
	f.same(dqkv, "attention.dqkv")
}

func TestTorchRoPE(t *testing.T) {
	f, b := openFixtures(t), New()
	qkv := f.get("rope.qkv")
	index := tensor.FromI32([]int32{0, 1, 2, 3}, 4)
	b.RoPE(qkv, f.get("rope.cos"), f.get("rope.sin"), index, 2, false)
	f.same(qkv, "rope.result")
	b.RoPE(qkv, f.get("rope.cos"), f.get("rope.sin"), index, 2, true)
	f.same(qkv, "rope.qkv")
}

func TestTorchWeightNorm(t *testing.T) {
	f, b := openFixtures(t), New()
	v, gain := f.get("weight_norm.v"), f.get("weight_norm.gain")
	w, norm, dv, dgain := f64(5, 6), f64(5), zeros(5, 6), zeros(5)
	b.WeightNorm(w, norm, v, gain)
	f.same(w, "weight_norm.w")
	b.WeightNormBackward(dv, dgain, f.get("weight_norm.dw"), v, gain, norm)
	f.same(dv, "weight_norm.dv")
	f.same(dgain, "weight_norm.dgain")
}

func TestTorchNormalize(t *testing.T) {
	f, b := openFixtures(t), New()
	y, norm, dx := f64(4, 6), f64(4), f64(4, 6)
	b.L2Normalize(y, norm, f.get("normalize.x"), 0.01)
	f.same(y, "normalize.y")
	b.L2NormalizeBackward(dx, f.get("normalize.dy"), y, norm, 0.01)
	f.same(dx, "normalize.dx")
}

// The loss of DINO over 2 teacher and 4 student views of 3 images, as a table of pairs.
func TestTorchDINOLoss(t *testing.T) {
	f, b := openFixtures(t), New()
	s, teacher, centre := f.get("dino_loss.student"), f.get("dino_loss.teacher"), f.get("dino_loss.centre")
	rows := f.index("dino_loss.rows")
	slse, tlse, loss, ds, weights := f64(12), f64(6), f64(rows.Len()), f64(12, 11), f64(rows.Len())
	b.RowLogSumExp(slse, s, nil, 10)
	b.RowLogSumExp(tlse, teacher, centre, 25)
	b.Fill(weights, f.get("dino_loss.weight").At(0))
	b.CrossEntropy(kernels.CrossEntropy{
		Loss: loss, DS: ds, S: s, SLSE: slse, T: teacher, TLSE: tlse, Centre: centre, SInvTemp: 10, TInvTemp: 25,
		Starts: f.index("dino_loss.starts"), Rows: rows, Weights: weights,
	})
	total := f64(1)
	b.Sum(total, loss, 1, false)
	f.same(total, "dino_loss.loss")
	f.same(ds, "dino_loss.dstudent")
}

func TestTorchKoLeo(t *testing.T) {
	f, b := openFixtures(t), New()
	x, index := f.get("koleo.x"), tensor.Zeros(tensor.I32, 7)
	dots := f64(7, 7)
	b.Gemm(kernels.Gemm{M: 7, N: 7, K: 5, A: x, B: x, TransB: true, Out: dots})
	f.same(dots, "koleo.dots")
	b.NearestRows(index, dots)
	for i, want := range f.index("koleo.nearest").I32() {
		if got := index.I32()[i]; got != want {
			t.Errorf("nearest row of %d is %d, PyTorch has %d", i, got, want)
		}
	}
	loss, dx, total := f64(7), f64(7, 5), f64(1)
	b.KoLeo(loss, dx, x, index, 1e-8, 0, 1.0/7)
	b.Sum(total, loss, 1, false)
	f.same(total, "koleo.loss")
	f.same(dx, "koleo.dx")
}

// Sinkhorn-Knopp on logits: what the published code does to the matrix, three rounds of prototype and sample steps,
// is here done to the centre and the samples' log-sum-exp.
func TestTorchSinkhorn(t *testing.T) {
	f, b := openFixtures(t), New()
	const samples, prototypes, invTemp = 6, 9, 1 / 0.07
	z := f.get("sinkhorn.z")
	centre, lse, sums, q := zeros(prototypes), zeros(samples), f64(prototypes), f64(samples, prototypes)
	for range 3 {
		b.ColSumExp(sums, z, centre, lse, invTemp)
		b.SinkhornCentre(centre, sums, float64(prototypes)/samples, invTemp)
		b.RowLogSumExp(lse, z, centre, invTemp)
	}
	b.SoftmaxRows(q, z, centre, lse, invTemp)
	f.same(q, "sinkhorn.q")
}

// Five steps of AdamW with gradient clipping and a teacher.
func TestTorchAdamW(t *testing.T) {
	f, b := openFixtures(t), New()
	param, ema, m, v := f.get("adamw.start"), f.get("adamw.teacher"), zeros(9), zeros(9)
	grads, params, teachers := f.get("adamw.grads"), f.get("adamw.params"), f.get("adamw.teachers")
	squares, scale, norms := f64(1), f64(1), f64(5)
	for step := range 5 {
		table := &kernels.ParamTable{Groups: 1, Entries: []kernels.ParamEntry{
			{Param: param, Grad: grads.Rows(step, step+1), M: m, V: v, EMA: ema, LRMul: 1, WDMul: 1},
		}}
		b.GradSquares(squares, table)
		norms.Set(step, math.Sqrt(squares.At(0)))
		b.Guard(kernels.Guard{Scale: scale, Missed: f64(1), Squares: squares, MaxNorm: 2})
		b.AdamW(table, scale, kernels.AdamWStep{Step: step + 1, LR: 3e-3, WD: 0.04, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Momentum: 0.99})
		b.Copy(params.Rows(step, step+1), param)
		b.Copy(teachers.Rows(step, step+1), ema)
	}
	f.same(norms, "adamw.norms")
	f.same(params, "adamw.params")
	f.same(teachers, "adamw.teachers")
	f.same(m, "adamw.m")
	f.same(v, "adamw.v")
}

func TestTorchRest(t *testing.T) {
	f, b := openFixtures(t), New()
	patches := f64(12, 48)
	b.Patchify(patches, f.get("patchify.images"), 4)
	f.same(patches, "patchify.patches")

	mean, variance := f64(4), f64(4)
	b.ColMoments(mean, variance, f.get("moments.x"))
	f.same(mean, "moments.mean")
	f.same(variance, "moments.variance")

	entropy := f64(1)
	b.Entropy(entropy, f.get("entropy.p"))
	f.same(entropy, "entropy.entropy")

	loss, da := f64(1), f64(3, 4)
	b.MSE(loss, da, f.get("mse.a"), f.get("mse.b"), 1)
	f.same(loss, "mse.loss")
	f.same(da, "mse.da")

	y := f64(3, 4)
	b.Gemm(kernels.Gemm{
		M: 3, N: 4, K: 5, A: f.get("linear.x"), B: f.get("linear.w"), TransB: true, Out: y, Bias: f.get("linear.bias"),
		Act: kernels.GELU, Residual: f.get("linear.residual"), Gamma: f.get("linear.gamma"),
	})
	f.same(y, "linear.y")
}
