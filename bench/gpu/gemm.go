package main

import (
	"fmt"
	"log"
	"maps"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/tensor"
)

// product is op(A)·op(B) with M, N, K as in kernels.Gemm.
type product struct {
	what           string
	m, n, k        int
	transA, transB bool
}

func (p product) name() string {
	return fmt.Sprintf("%dx%dx%d %s%s", p.m, p.n, p.k, letter(p.transA), letter(p.transB))
}

func letter(t bool) string {
	if t {
		return "T"
	}
	return "N"
}

func (p product) flops() float64 { return float64(kernels.GemmFLOPs(p.m, p.n, p.k)) }

// tokens of the DINOv2 step: 64 images of two global crops of 257 and eight local crops of 50 tokens.
const tokens = 64*2*257 + 64*8*50

// products lists the square ones, every layer of ViT-S, B and L over the packed tokens of a DINOv2 step (NT the
// forward pass, NN the gradient of the input, TN that of the weight), and the prototypes.
func (b *bench) products() []product {
	if b.dry {
		return []product{{"square", 32, 32, 32, false, true}, {"layer", 24, 40, 16, true, false}}
	}
	var list []product
	for _, n := range []int{4096, 8192} {
		for _, t := range [][2]bool{{false, true}, {false, false}, {true, false}} {
			list = append(list, product{"square", n, n, n, t[0], t[1]})
		}
	}
	for _, v := range []struct {
		name string
		dim  int
	}{{"ViT-S", 384}, {"ViT-B", 768}, {"ViT-L", 1024}} {
		for _, l := range []struct {
			name    string
			out, in int
		}{{"qkv", 3, 1}, {"proj", 1, 1}, {"fc1", 4, 1}, {"fc2", 1, 4}} {
			out, in := l.out*v.dim, l.in*v.dim
			name := v.name + " " + l.name
			list = append(list, product{name, tokens, out, in, false, true}, product{name + " dx", tokens, in, out, false, false},
				product{name + " dw", out, in, tokens, true, false})
		}
	}
	const rows = 640 // CLS tokens of 64 images with ten crops
	return append(list, product{"prototypes", rows, 65536, 256, false, true}, product{"prototypes dx", rows, 256, 65536, false, false},
		product{"prototypes dw", 65536, 256, rows, true, false})
}

// gemmSection is the matrix product in bf16 with f32 accumulation, every version, against torch.mm.
func gemmSection(b *bench, t *table) error {
	all, err := b.open(versions{})
	if err != nil {
		return err
	}
	defer all.close()
	if err := all.prepare(b); err != nil {
		return err
	}
	s := newStore(all)
	list := b.products()
	vs, err := b.versionsOf(func(v int) versions { return versions{Gemm: v} }, func(be *cuda.Backend) error { return smallProduct(be) })
	if err != nil {
		return err
	}
	var gpus []*gpu
	for _, v := range vs {
		gpus = append(gpus, all.with(versions{Gemm: v}))
	}
	p := b.torchKernels()
	if p != nil {
		defer p.Close()
	}
	t.title = "## Matrix product, bf16\n\n"
	t.printf("\nTFLOP/s, medians. Rows are M x N x K; the letters say whether A and B lie transposed in memory. %d rows are the packed tokens of 64 images\nwith two global and eight local crops. Ratio: the fastest version over torch.mm (cuBLAS).\n\n", tokens)
	t.printf("| product | kind |")
	for _, v := range vs {
		t.printf(" v%d |", v)
	}
	t.printf(" torch | ratio |\n|---|---|%s---:|---:|\n", strings.Repeat("---:|", len(vs)))
	ratios := map[string][]float64{}
	for _, x := range list {
		speeds, err := b.product(x, s, gpus, p)
		s.release()
		if err != nil {
			log.Printf("%s: %v", x.name(), err)
			t.printf("| %s | %s | %v |\n", x.name(), x.what, err)
			continue
		}
		t.printf("| %s | %s |", x.name(), x.what)
		best := 0.0
		for _, v := range speeds[:len(gpus)] {
			t.printf(" %s |", teraflops(v))
			best = max(best, v)
		}
		if len(speeds) > len(gpus) {
			last := speeds[len(gpus)]
			t.printf(" %s | %.2f |\n", teraflops(last), best/last)
			kind, _, _ := strings.Cut(x.what, " ")
			ratios[kind] = append(ratios[kind], best/last)
		} else {
			t.printf(" | |\n")
		}
	}
	t.printf("\n")
	for _, kind := range []string{"square", "ViT-S", "ViT-B", "ViT-L", "prototypes"} {
		if v := ratios[kind]; len(v) > 0 {
			t.printf("- %s: median ratio %.2f\n", kind, peer.Median(v))
		}
	}
	return nil
}

func teraflops(v float64) string { return fmt.Sprintf("%.3g", v/1e12) }

// product measures one product on every version and on PyTorch, last if there is one, in FLOP/s. Results are held
// against float64 first.
func (b *bench) product(x product, s *store, gpus []*gpu, p *peer.Process) ([]float64, error) {
	operand := func(rows, cols int, trans bool) (host, dev *tensor.Tensor, err error) {
		if trans {
			rows, cols = cols, rows
		}
		return s.normal(tensor.BF16, rows, cols)
	}
	hostA, devA, err := operand(x.m, x.k, x.transA)
	if err != nil {
		return nil, err
	}
	hostB, devB, err := operand(x.k, x.n, x.transB)
	if err != nil {
		return nil, err
	}
	out, err := s.empty(tensor.BF16, x.m, x.n)
	if err != nil {
		return nil, err
	}
	g := kernels.Gemm{M: x.m, N: x.n, K: x.k, TransA: x.transA, TransB: x.transB, A: devA, B: devB, Out: out}
	var contestants []contestant
	for i, c := range gpus {
		s.poison(out)
		if err := s.g.backend.Sync(); err != nil {
			return nil, err
		}
		c.backend.Gemm(g)
		if err := c.backend.Sync(); err != nil {
			return nil, err
		}
		got, err := s.download(out)
		if err != nil {
			return nil, err
		}
		if err := x.verify(hostA, hostB, got); err != nil {
			return nil, fmt.Errorf("version %d of %d: %w", i+1, len(gpus), err)
		}
		contestants = append(contestants, ours{c, func() { c.backend.Gemm(g) }})
	}
	if p != nil {
		bit := map[bool]int{true: 1}
		if _, err := prepare(p, "gemm %d %d %d %d %d", x.m, x.n, x.k, bit[x.transA], bit[x.transB]); err != nil {
			return nil, err
		}
		contestants = append(contestants, torch{p, "mm"})
	}
	ns, err := race(b.rounds, contestants...)
	if err != nil {
		return nil, err
	}
	for i := range ns {
		ns[i] = x.flops() / ns[i] * 1e9
	}
	return ns, nil
}

// verify computes elements spread over the whole result in float64.
func (p product) verify(a, b, out *tensor.Tensor) error {
	element := func(t *tensor.Tensor, trans bool, r, c int) float64 {
		if trans {
			r, c = c, r
		}
		return float64(tensor.FromBF16(t.BF16()[r*t.Dim(1)+c]))
	}
	const count = 64
	var got, want []float64
	for i := range count {
		m, n := i*(p.m-1)/(count-1), (i*37%count)*(p.n-1)/(count-1)
		sum := 0.0
		for k := range p.k {
			sum += element(a, p.transA, m, k) * element(b, p.transB, k, n)
		}
		got, want = append(got, element(out, false, m, n)), append(want, sum)
	}
	return compare(p.name(), got, want)
}

// smallProduct is a product that every version can carry out.
func smallProduct(be *cuda.Backend) error {
	const n = 64
	alloc := be.Allocator()
	buf, err := alloc.Alloc(3 * n * n * 2)
	if err != nil {
		return err
	}
	defer alloc.Free(buf)
	at := func(i int) *tensor.Tensor { return tensor.Over(buf, i*n*n*2, tensor.BF16, n, n) }
	be.Fill(tensor.Over(buf, 0, tensor.BF16, 3*n*n), 1)
	be.Gemm(kernels.Gemm{M: n, N: n, K: n, A: at(0), B: at(1), Out: at(2), TransB: true})
	return be.Sync()
}

// versionsOf lists the versions of a kernel family that this device has: those that launch other kernels than the
// versions before. Two in a row that do not end the search.
func (b *bench) versionsOf(choose func(int) versions, work func(*cuda.Backend) error) ([]int, error) {
	var list []int
	var seen []map[string]bool
	for v, missing := 1, 0; missing < 2; v++ {
		names, err := b.launched(choose(v), work)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(seen, func(s map[string]bool) bool { return maps.Equal(s, names) }) {
			missing++
			continue
		}
		seen, list, missing = append(seen, names), append(list, v), 0
	}
	return list, nil
}
