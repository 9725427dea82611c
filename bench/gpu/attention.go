package main

import (
	"fmt"
	"log"
	"math"
	"strings"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/tensor"
)

// pack is sequences of a few lengths, packed one after the other.
type pack struct {
	heads  int
	groups []group
}

type group struct{ length, count int }

const headDim = 64

func (p pack) name() string {
	var parts []string
	for _, g := range p.groups {
		parts = append(parts, fmt.Sprintf("%d x %d", g.count, g.length))
	}
	return strings.Join(parts, " + ")
}

// spec is the pack as the peer reads it: LENGTHxCOUNT, separated by commas.
func (p pack) spec() string {
	var parts []string
	for _, g := range p.groups {
		parts = append(parts, fmt.Sprintf("%dx%d", g.length, g.count))
	}
	return strings.Join(parts, ",")
}

func (p pack) starts() []int32 {
	s := []int32{0}
	for _, g := range p.groups {
		for range g.count {
			s = append(s, s[len(s)-1]+int32(g.length))
		}
	}
	return s
}

func (p pack) longest() int {
	n := 0
	for _, g := range p.groups {
		n = max(n, g.length)
	}
	return n
}

// packs are those of ViT-S, B and L: DINO's 197 tokens, DINOv2's 257 and 50, a large image, and the mixture of a DINOv2
// step, 64 images.
func (b *bench) packs() []pack {
	if b.dry {
		return []pack{{2, []group{{9, 2}, {5, 1}}}}
	}
	var list []pack
	for _, heads := range []int{6, 12, 16} {
		list = append(list, pack{heads, []group{{197, 128}}}, pack{heads, []group{{257, 128}}}, pack{heads, []group{{50, 512}}},
			pack{heads, []group{{1025, 16}}}, pack{heads, []group{{257, 128}, {50, 512}}})
	}
	return list
}

// attentionSection is attention, head size 64, forward and backward, against PyTorch.
func attentionSection(b *bench, t *table) error {
	all, err := b.open(versions{})
	if err != nil {
		return err
	}
	defer all.close()
	if err := all.prepare(b); err != nil {
		return err
	}
	s := newStore(all)
	vs, err := b.versionsOf(func(v int) versions { return versions{Attention: v} }, func(be *cuda.Backend) error { return smallAttention(be) })
	if err != nil {
		return err
	}
	var gpus []*gpu
	for _, v := range vs {
		gpus = append(gpus, all.with(versions{Attention: v}))
	}
	p := b.torchKernels()
	if p != nil {
		defer p.Close()
	}
	t.title = "## Attention, bf16, head size 64\n\n"
	t.printf("\nTFLOP/s, medians; a pass forward counts 4·heads·Σlength²·64 operations, backward 2.5 times that. Packs are COUNT x LENGTH. PyTorch reads the same\npacked qkv through views, on its flash kernels and on whatever is fastest, in the fastest of its ways to take a pack: a batch for each\nlength, variable-length attention, a nested tensor.\n\n")
	t.printf("| pack | heads | pass |")
	for _, v := range vs {
		t.printf(" v%d |", v)
	}
	t.printf(" torch flash | way | ratio | torch best | way | ratio |\n|---|---:|---|%s---:|---|---:|---:|---|---:|\n", strings.Repeat("---:|", len(vs)))
	ratios := map[string][]float64{}
	for _, x := range b.packs() {
		for _, backward := range []bool{false, true} {
			pass := map[bool]string{false: "forward", true: "backward"}[backward]
			speeds, ways, err := b.attention(x, backward, s, gpus, p)
			s.release()
			if err != nil {
				log.Printf("%s, %d heads, %s: %v", x.name(), x.heads, pass, err)
				t.printf("| %s | %d | %s | %v |\n", x.name(), x.heads, pass, err)
				continue
			}
			t.printf("| %s | %d | %s |", x.name(), x.heads, pass)
			best := 0.0
			for _, v := range speeds[:len(gpus)] {
				t.printf(" %s |", teraflops(v))
				best = max(best, v)
			}
			for i, way := range ways {
				v := speeds[len(gpus)+i]
				t.printf(" %s | %s | %.2f |", teraflops(v), way, best/v)
				key := fmt.Sprintf("%s against torch's %s", pass, []string{"flash", "best"}[i])
				ratios[key] = append(ratios[key], best/v)
			}
			t.printf("%s\n", strings.Repeat(" |", 3*(2-len(ways))))
		}
	}
	t.printf("\n")
	for _, pass := range []string{"forward", "backward"} {
		for _, side := range []string{"flash", "best"} {
			key := fmt.Sprintf("%s against torch's %s", pass, side)
			if v := ratios[key]; len(v) > 0 {
				t.printf("- %s: median ratio %.2f\n", key, peer.Median(v))
			}
		}
	}
	return nil
}

// attention measures one pass, FLOP/s of every version and of PyTorch's flash and best ways.
func (b *bench) attention(x pack, backward bool, s *store, gpus []*gpu, p *peer.Process) (speeds []float64, ways []string, err error) {
	a, err := newAttention(x, s)
	if err != nil {
		return nil, nil, err
	}
	var contestants []contestant
	for i, g := range gpus {
		if err := a.verify(g, s, backward); err != nil {
			return nil, nil, fmt.Errorf("version %d of %d: %w", i+1, len(gpus), err)
		}
		work := func() { g.backend.Attention(a.grad.Attention) }
		if backward {
			work = func() { g.backend.AttentionBackward(a.grad) }
		}
		contestants = append(contestants, ours{g, work})
	}
	if p != nil {
		pass := map[bool]string{false: "forward", true: "backward"}[backward]
		answer, err := prepare(p, "attention %s %d %d %s", pass, x.heads, headDim, x.spec())
		if err != nil {
			return nil, nil, err
		}
		for i, way := range strings.SplitN(answer, "|", 2) {
			ways = append(ways, strings.TrimSpace(way))
			contestants = append(contestants, torch{p, []string{"flash", "best"}[i]})
		}
	}
	ns, err := race(b.rounds, contestants...)
	if err != nil {
		return nil, nil, err
	}
	flops := float64(kernels.AttentionFLOPs(x.starts(), x.heads, headDim))
	if backward {
		flops = float64(kernels.AttentionBackwardFLOPs(x.starts(), x.heads, headDim))
	}
	for i := range ns {
		ns[i] = flops / ns[i] * 1e9
	}
	return ns, ways, nil
}

// attentionCase is a pack with its operands.
type attentionCase struct {
	pack
	grad      kernels.AttentionGrad
	qkv, dout *tensor.Tensor // on the host
}

func newAttention(x pack, s *store) (*attentionCase, error) {
	a := &attentionCase{pack: x}
	starts := x.starts()
	n, inner := int(starts[len(starts)-1]), x.heads*headDim
	g := &a.grad
	var err error
	if a.qkv, g.QKV, err = s.normal(tensor.BF16, n, 3*inner); err != nil {
		return nil, err
	}
	if a.dout, g.DOut, err = s.normal(tensor.BF16, n, inner); err != nil {
		return nil, err
	}
	if g.Seqs.Starts, err = s.upload(tensor.FromI32(starts, len(starts))); err != nil {
		return nil, err
	}
	g.Seqs.Host, g.Seqs.MaxLen, g.Heads, g.Scale = starts, x.longest(), x.heads, 1/math.Sqrt(headDim)
	for _, o := range []struct {
		to    **tensor.Tensor
		dtype tensor.DType
		shape []int
	}{
		{&g.Out, tensor.BF16, []int{n, inner}}, {&g.LSE, tensor.F32, []int{x.heads, n}}, {&g.DQKV, tensor.BF16, []int{n, 3 * inner}},
		{&g.Delta, tensor.F32, []int{x.heads, n}},
	} {
		if *o.to, err = s.empty(o.dtype, o.shape...); err != nil {
			return nil, err
		}
		s.poison(*o.to)
	}
	return a, s.g.backend.Sync()
}

// verify runs the pass once and compares the last head of the first and of the last sequence with float64.
func (a *attentionCase) verify(g *gpu, s *store, backward bool) error {
	for _, t := range []*tensor.Tensor{a.grad.Out, a.grad.DQKV} {
		s.poison(t)
	}
	if err := s.g.backend.Sync(); err != nil {
		return err
	}
	g.backend.Attention(a.grad.Attention)
	if backward {
		g.backend.AttentionBackward(a.grad)
	}
	if err := g.backend.Sync(); err != nil {
		return err
	}
	out, err := s.download(a.grad.Out)
	if err != nil {
		return err
	}
	dqkv, err := s.download(a.grad.DQKV)
	if err != nil {
		return err
	}
	starts := a.starts()
	for _, seq := range []int{0, len(starts) - 2} {
		e := a.exact(int(starts[seq]), int(starts[seq+1]), a.heads-1)
		inner := a.heads * headDim
		cut := func(t *tensor.Tensor, part int) (v []float64) {
			for i := int(starts[seq]); i < int(starts[seq+1]); i++ {
				at := i*t.Dim(1) + part*inner + (a.heads-1)*headDim
				for _, x := range t.BF16()[at : at+headDim] {
					v = append(v, float64(tensor.FromBF16(x)))
				}
			}
			return v
		}
		if err := compare("attention", cut(out, 0), e.out); err != nil {
			return err
		}
		if !backward {
			continue
		}
		for part, want := range [][]float64{e.dq, e.dk, e.dv} {
			if err := compare("gradient of "+[]string{"q", "k", "v"}[part], cut(dqkv, part), want); err != nil {
				return err
			}
		}
	}
	return nil
}

// exactHead is one sequence of one head in float64, each [length, 64].
type exactHead struct{ out, dq, dk, dv []float64 }

func (a *attentionCase) exact(lo, hi, head int) exactHead {
	n, inner := hi-lo, a.heads*headDim
	row := func(t *tensor.Tensor, i, part int) []float64 {
		at := (lo+i)*t.Dim(1) + part*inner + head*headDim
		v := make([]float64, headDim)
		for c, x := range t.BF16()[at : at+headDim] {
			v[c] = float64(tensor.FromBF16(x))
		}
		return v
	}
	var q, k, v, do [][]float64
	for i := range n {
		q, k, v, do = append(q, row(a.qkv, i, 0)), append(k, row(a.qkv, i, 1)), append(v, row(a.qkv, i, 2)), append(do, row(a.dout, i, 0))
	}
	zero := func() []float64 { return make([]float64, n*headDim) }
	e := exactHead{zero(), zero(), zero(), zero()}
	at := func(v []float64, i int) []float64 { return v[i*headDim : (i+1)*headDim] }
	p, dp := make([]float64, n), make([]float64, n)
	for i := range n {
		sum := 0.0
		for j := range n {
			p[j] = math.Exp(a.grad.Scale * dot(q[i], k[j])) // scores of normal vectors are small
			sum += p[j]
		}
		delta := 0.0
		for j := range n {
			p[j] /= sum
			axpy(at(e.out, i), p[j], v[j])
			axpy(at(e.dv, j), p[j], do[i])
			dp[j] = dot(do[i], v[j])
			delta += p[j] * dp[j]
		}
		for j := range n {
			ds := a.grad.Scale * p[j] * (dp[j] - delta)
			axpy(at(e.dq, i), ds, k[j])
			axpy(at(e.dk, j), ds, q[i])
		}
	}
	return e
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i, x := range a {
		s += x * b[i]
	}
	return s
}

func axpy(y []float64, a float64, x []float64) {
	for i := range y {
		y[i] += a * x[i]
	}
}

// smallAttention is a call that every version can carry out.
func smallAttention(be *cuda.Backend) error {
	const n = 16
	alloc := be.Allocator()
	buf, err := alloc.Alloc(4*n*headDim*2 + 8)
	if err != nil {
		return err
	}
	defer alloc.Free(buf)
	starts := tensor.Over(buf, 4*n*headDim*2, tensor.I32, 2)
	be.Upload(starts, tensor.FromI32([]int32{0, n}, 2))
	qkv := tensor.Over(buf, 0, tensor.BF16, n, 3*headDim)
	be.Fill(qkv, 1)
	be.Attention(kernels.Attention{Out: tensor.Over(buf, 3*n*headDim*2, tensor.BF16, n, headDim), QKV: qkv,
		Seqs: kernels.Sequences{Starts: starts, Host: []int32{0, n}, MaxLen: n}, Heads: 1, Scale: 1})
	return be.Sync()
}
