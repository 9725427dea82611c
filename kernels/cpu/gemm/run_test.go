package gemm

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/pool"
	"github.com/dino-mx/dmx/tensor"
)

// guarded is a tensor between two stretches of a known pattern, to see writes past its ends.
type guarded struct {
	*tensor.Tensor
	raw []byte
}

const guard = 256

func newGuarded(d tensor.DType, shape ...int) guarded {
	n := tensor.Shape(shape).Len() * d.Size()
	raw := make([]byte, n+2*guard)
	for i := range raw {
		raw[i] = byte(i*7 + 1)
	}
	buf := &tensor.Buffer{Host: raw, Size: len(raw)}
	return guarded{tensor.Over(buf, guard, d, shape...), raw}
}

func (g guarded) intact() bool {
	for i := range guard {
		e := len(g.raw) - 1 - i
		if g.raw[i] != byte(i*7+1) || g.raw[e] != byte(e*7+1) {
			return false
		}
	}
	return true
}

func (g guarded) randomize(r *tensor.Rand) guarded {
	for i := range g.Len() {
		g.Set(i, r.Uniform(-1, 1))
	}
	return g
}

// product is one case: which parts of kernels.Gemm are used.
type product struct {
	m, n, k        int
	transA, transB bool
	in, out        tensor.DType
	accumulate     bool
	alpha          float64
	bias, pre      bool
	act            kernels.Activation
	gradOf         bool
	residual       string // "", "own" or "out"
	gamma, rows    bool
	offsets        bool
}

func (c product) String() string {
	return fmt.Sprintf("%dx%dx%d transA=%v transB=%v in=%v out=%v accumulate=%v alpha=%v bias=%v pre=%v act=%d gradOf=%v residual=%q gamma=%v rows=%v offsets=%v",
		c.m, c.n, c.k, c.transA, c.transB, c.in, c.out, c.accumulate, c.alpha, c.bias, c.pre, c.act, c.gradOf, c.residual, c.gamma, c.rows, c.offsets)
}

// built is a case's tensors, and the values that the output and Pre should have afterwards.
type built struct {
	g          kernels.Gemm
	out, pre   guarded
	want, sure []float64 // expected Out, and how large the sums' terms were; 0 where it is not written
	wantPre    []float64
}

func build(c product, seed uint64) *built {
	r := tensor.NewRand(seed, 1, 2, 3)
	b := &built{g: kernels.Gemm{M: c.m, N: c.n, K: c.k, TransA: c.transA, TransB: c.transB, Alpha: c.alpha, Accumulate: c.accumulate}}
	g := &b.g
	pad := 0
	if c.offsets {
		pad, g.ACol, g.BCol, g.OutCol = 7, 3, 5, 2
	}
	operand := func(rows, cols, col int, trans bool) *tensor.Tensor {
		if trans {
			rows, cols = cols, rows
		}
		return newGuarded(c.in, rows, cols+col+pad).randomize(r).Tensor
	}
	g.A, g.B = operand(c.m, c.k, g.ACol, c.transA), operand(c.k, c.n, g.BCol, c.transB)
	wide := c.n + g.OutCol + pad
	b.out = newGuarded(c.out, c.m, wide).randomize(r)
	g.Out = b.out.Tensor
	if c.pre {
		b.pre = newGuarded(c.out, c.m, wide).randomize(r)
		g.Pre = b.pre.Tensor
	}
	if c.bias {
		g.Bias = newGuarded(tensor.F32, c.n).randomize(r).Tensor
	}
	g.Act = c.act
	if c.gradOf {
		g.GradOf = newGuarded(c.out, c.m, wide).randomize(r).Tensor
		g.ActGrad = kernels.GELU
	}
	switch c.residual {
	case "own":
		g.Residual = newGuarded(c.out, c.m, wide).randomize(r).Tensor
	case "out":
		g.Residual = g.Out
	}
	if c.gamma {
		g.Gamma = newGuarded(c.out, c.n).randomize(r).Tensor
	}
	if c.rows {
		g.RowScale = newGuarded(tensor.F32, c.m).randomize(r).Tensor
	}
	b.expect(c)
	return b
}

func (b *built) expect(c product) {
	g := &b.g
	alpha := g.Alpha
	if alpha == 0 {
		alpha = 1
	}
	_, co := kernels.Matrix(g.Out)
	av, bv := rowsAlongK(g.A, c.m, c.k, g.ACol, c.transA), rowsAlongK(g.B, c.n, c.k, g.BCol, !c.transB)
	b.want = values(g.Out)
	b.sure = make([]float64, len(b.want))
	if g.Pre != nil {
		b.wantPre = values(g.Pre)
	}
	for m := range c.m {
		for n := range c.n {
			acc, size := 0.0, 0.0
			row := bv[n*c.k : (n+1)*c.k]
			for k, v := range av[m*c.k : (m+1)*c.k] {
				p := v * row[k]
				acc += p
				size += math.Abs(p)
			}
			i := m*co + g.OutCol + n
			z := alpha * acc
			if g.Bias != nil {
				z += g.Bias.At(n)
			}
			if g.Pre != nil {
				b.wantPre[i] = z
			}
			y := plainActivation(z, g.Act)
			if g.GradOf != nil {
				y *= plainSlope(g.GradOf.At(i))
			}
			if g.Gamma != nil {
				y *= g.Gamma.At(n)
			}
			if g.RowScale != nil {
				y *= g.RowScale.At(m)
			}
			if g.Residual != nil {
				y += g.Residual.At(i)
			}
			if g.Accumulate {
				y += b.want[i]
			}
			b.want[i] = y
			b.sure[i] = math.Abs(alpha)*size + 4
		}
	}
}

func values(t *tensor.Tensor) []float64 {
	v := make([]float64, t.Len())
	for i := range v {
		v[i] = t.At(i)
	}
	return v
}

// rowsAlongK lays an operand out as rows of k elements, one for each row of A or column of B.
func rowsAlongK(t *tensor.Tensor, rows, k, col int, acrossK bool) []float64 {
	_, ld := kernels.Matrix(t)
	v := make([]float64, rows*k)
	for i := range rows {
		for p := range k {
			if acrossK {
				v[i*k+p] = t.At(p*ld + col + i)
			} else {
				v[i*k+p] = t.At(i*ld + col + p)
			}
		}
	}
	return v
}

func plainActivation(x float64, a kernels.Activation) float64 {
	switch a {
	case kernels.GELU:
		return x * 0.5 * (1 + math.Erf(x/math.Sqrt2))
	case kernels.SiLU:
		return x / (1 + math.Exp(-x))
	case kernels.ReLU:
		return max(x, 0)
	case kernels.Tanh:
		return math.Tanh(x)
	}
	return x
}

// plainSlope is the derivative of GELU.
func plainSlope(x float64) float64 {
	return 0.5*(1+math.Erf(x/math.Sqrt2)) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
}

// poison makes the output NaN where it is to be overwritten.
func (b *built) poison(c product) {
	if c.accumulate || c.residual == "out" {
		return
	}
	for m := range c.m {
		for n := range c.n {
			i := m*b.out.Dim(1) + b.g.OutCol + n
			b.out.Set(i, math.NaN())
			if b.g.Pre != nil {
				b.pre.Set(i, math.NaN())
			}
		}
	}
}

// check compares with float64. The bound is that of a chain of f32 roundings, with the roots of their number
// replaced by a small constant since K here is small; bf16 results add half a unit of their last place.
func (b *built) check(t *testing.T, c product) {
	t.Helper()
	compare := func(name string, got guarded, want []float64) {
		t.Helper()
		for i, w := range want {
			v := got.At(i)
			bound := 2e-7 * b.sure[i] * math.Sqrt(float64(c.k)+1)
			if b.sure[i] == 0 {
				bound = 0
			} else if got.DType() == tensor.BF16 {
				bound += math.Abs(w) / 256
			}
			if !(math.Abs(v-w) <= bound) {
				t.Fatalf("%v: %s[%d,%d] = %v, want %v (within %g)", c, name, i/got.Dim(1), i%got.Dim(1), v, w, bound)
			}
		}
		if !got.intact() {
			t.Fatalf("%v: wrote outside %s", c, name)
		}
	}
	compare("Out", b.out, b.want)
	if b.g.Pre != nil {
		compare("Pre", b.pre, b.wantPre)
	}
}

func run(t *testing.T, p *pool.Pool, c product, seed uint64) *built {
	t.Helper()
	b := build(c, seed)
	b.run(t, p, c)
	return b
}

func (b *built) run(t *testing.T, p *pool.Pool, c product) {
	t.Helper()
	b.poison(c)
	New(p).Run(&b.g)
	b.check(t, c)
}

// runEachKernel runs one case on every kernel, with the expected values computed once.
func runEachKernel(t *testing.T, threads int, c product, seed uint64) {
	t.Helper()
	b := build(c, seed)
	was := append([]byte(nil), b.out.Bytes()...)
	p := pool.New(threads)
	defer p.Close()
	eachKernel(t, func(t *testing.T) {
		t.Helper()
		copy(b.out.Bytes(), was)
		b.run(t, p, c)
	})
}

func newPool(t *testing.T, threads int) *pool.Pool {
	p := pool.New(threads)
	t.Cleanup(p.Close)
	return p
}

// All transposes, over sizes one below, at and one above one to three tiles.
func TestRunEdges(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		p := newPool(t, 2)
		seed := uint64(0)
		for _, m := range edges(current().mr) {
			for _, n := range edges(current().nr()) {
				c := product{m: m, n: n, k: []int{1, 7, 16, 33}[seed%4], transA: seed/4%2 == 1, transB: seed/8%2 == 1,
					accumulate: seed%3 == 0, offsets: seed%5 == 0}
				run(t, p, c, seed)
				seed++
			}
		}
		for trans := range 4 {
			for _, k := range []int{0, 1, 2, 8, 15, 17, 100} {
				for _, m := range []int{1, 5, 29} {
					run(t, p, product{m: m, n: 37, k: k, transA: trans&1 != 0, transB: trans&2 != 0, offsets: true}, uint64(k))
				}
			}
		}
	})
}

// Every piece of the epilogue alone and all together, f32 and bf16, on every way of cutting a product up.
func TestRunEpilogue(t *testing.T) {
	shapes := []product{
		{m: 20, n: 45, k: 19},
		{m: 3, n: 150, k: 40, transB: true},
		{m: 150, n: 40, k: 30, transA: true},
		{m: 9, n: 33, k: 1100},                 // chunks of K
		{m: 40, n: 70, k: 1600, offsets: true}, // several K blocks
		{m: 6, n: 35, k: 0},
	}
	pieces := []func(c *product){
		func(c *product) {},
		func(c *product) { c.bias = true },
		func(c *product) { c.bias, c.pre, c.act = true, true, kernels.GELU },
		func(c *product) { c.act = kernels.SiLU },
		func(c *product) { c.gradOf = true },
		func(c *product) { c.residual = "own" },
		func(c *product) { c.residual = "out" },
		func(c *product) { c.gamma, c.alpha = true, 0.3 },
		func(c *product) { c.rows, c.accumulate = true, true },
		func(c *product) { c.accumulate, c.alpha = true, -2 },
		func(c *product) { c.bias, c.gamma, c.rows, c.residual = true, true, true, "out" },
		func(c *product) {
			c.bias, c.pre, c.act, c.gradOf, c.residual, c.gamma, c.rows, c.accumulate = true, true, kernels.Tanh, true, "own", true, true, true
		},
	}
	types := [][2]tensor.DType{{tensor.F32, tensor.F32}, {tensor.BF16, tensor.BF16}, {tensor.BF16, tensor.F32}}
	if raceEnabled {
		shapes, pieces = shapes[:4], pieces[len(pieces)-2:]
	}
	for _, s := range shapes {
		for i, piece := range pieces {
			for _, d := range types {
				c := s
				c.in, c.out = d[0], d[1]
				piece(&c)
				runEachKernel(t, 2, c, uint64(i))
			}
		}
	}
}

// Products large enough for every strategy: shared A, shared B, both, several column groups and K groups.
func TestRunStrategies(t *testing.T) {
	was2, was3 := l2, l3
	defer func() { l2, l3 = was2, was3 }()
	for _, small := range []bool{false, true} {
		if small {
			l2, l3 = 16<<10, 32<<10 // as if on a machine with hardly any cache: many blocks
		}
		for i, c := range []product{
			{m: 30, n: 600, k: 50, transB: true, bias: true},
			{m: 300, n: 70, k: 64},
			{m: 530, n: 70, k: 150, transA: true, in: tensor.BF16},
			{m: 70, n: 600, k: 90, transA: true, residual: "out"},
			{m: 200, n: 210, k: 800, transB: true, bias: true, act: kernels.GELU},
			{m: 20, n: 24, k: 5000, transA: true},
		} {
			runEachKernel(t, 2, c, uint64(i))
		}
		if raceEnabled {
			continue
		}
		for i, c := range []product{
			{m: 190, n: 180, k: 4500, rows: true, accumulate: true},
			{m: 190, n: 180, k: 4500, transB: true, gamma: true},
		} {
			runEachKernel(t, 2, c, uint64(i))
		}
	}
}

// The bits of a result do not depend on the number of threads, nor on the vector width.
func TestRunSameBits(t *testing.T) {
	for i, c := range []product{
		{m: 197, n: 130, k: 384, transB: true, bias: true, act: kernels.GELU},
		{m: 48, n: 700, k: 256, transB: true},
		{m: 48, n: 64, k: 3000},
		{m: 300, n: 48, k: 100, transA: true, accumulate: true, alpha: 0.7},
		{m: 700, n: 40, k: 1600, residual: "out", gamma: true},
		// Every worker packs all of B, and its next rows on the way.
		{m: 1100, n: 40, k: 1400, transA: true, bias: true},
		{m: 1100, n: 50, k: 800, transB: true, in: tensor.BF16, accumulate: true},
	} {
		if raceEnabled && c.m > 1000 {
			continue // TestColumnsApart goes there too
		}
		var first []byte
		eachKernel(t, func(t *testing.T) {
			if current() == &portable {
				return // it rounds products before adding them
			}
			for _, threads := range []int{1, 2, 4} {
				b := run(t, newPool(t, threads), c, uint64(i))
				if first == nil {
					first = b.out.Bytes()
				} else if string(first) != string(b.out.Bytes()) {
					t.Fatalf("%v: other bits with %d threads", c, threads)
				}
			}
		})
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	for i, c := range []product{
		{m: 100, n: 130, k: 100, transB: true, bias: true, pre: true, act: kernels.GELU},
		{m: 300, n: 70, k: 64, in: tensor.BF16, out: tensor.BF16, residual: "out", rows: true},
		{m: 20, n: 24, k: 3000, transA: true},
		{m: 4, n: 3, k: 5},
	} {
		p := newPool(t, 2)
		x := New(p)
		b := build(c, uint64(i))
		if n := testing.AllocsPerRun(10, func() { x.Run(&b.g) }); n != 0 {
			t.Errorf("%v: %v allocations a run", c, n)
		}
	}
}

func TestRunPanicsOnMistakes(t *testing.T) {
	p := newPool(t, 1)
	for name, g := range map[string]kernels.Gemm{
		"shape": {M: 2, N: 2, K: 3, A: tensor.Zeros(tensor.F32, 2, 3), B: tensor.Zeros(tensor.F32, 2, 2), Out: tensor.Zeros(tensor.F32, 2, 2)},
		"type":  {M: 2, N: 2, K: 2, A: tensor.Zeros(tensor.F64, 2, 2), B: tensor.Zeros(tensor.F64, 2, 2), Out: tensor.Zeros(tensor.F64, 2, 2)},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			New(p).Run(&g)
		}()
	}
}

// Columns multiplied apart, into their places of one output, have the bits of the whole product: query, key and value
// of a model whose weights lie apart are computed so.
func TestColumnsApart(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	x := New(p)
	r := tensor.NewRand(7, 1, 2, 3)
	fill := func(shape ...int) *tensor.Tensor {
		v := tensor.Zeros(tensor.F32, shape...)
		for i, f := 0, v.F32(); i < len(f); i++ {
			f[i] = float32(r.Norm())
		}
		return v
	}
	// Between n and 3·n rows, n alone would cut K elsewhere; few of everything multiplies chunks of K apart.
	for _, c := range [][3]int{{1, 384, 384}, {200, 192, 1100}, {1000, 448, 1536}, {3000, 64, 900}, {20, 100, 1300}, {8, 700, 2048}} {
		m, n, k := c[0], c[1], c[2]
		a, w, bias := fill(m, k), fill(3*n, k), fill(3*n)
		whole, apart := tensor.Zeros(tensor.F32, m, 3*n), tensor.Zeros(tensor.F32, m, 3*n)
		x.Run(&kernels.Gemm{M: m, N: 3 * n, K: k, A: a, B: w, TransB: true, Bias: bias, Out: whole})
		for i := range 3 {
			x.Run(&kernels.Gemm{M: m, N: n, K: k, A: a, B: w.Rows(i*n, (i+1)*n), TransB: true, Bias: bias.Rows(i*n, (i+1)*n), Out: apart, OutCol: i * n})
		}
		if !bytes.Equal(whole.Bytes(), apart.Bytes()) {
			t.Errorf("%v: other bits", c)
		}
	}
}
