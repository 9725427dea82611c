package main

import (
	"fmt"
	"log"

	"github.com/dino-mx/dmx/bench/peer"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// mover is a kernel whose cost is the bytes it moves.
type mover struct {
	name, shape string
	bytes       int64 // every input read once, every output written once
	work        func(*gpu)
}

// sizes of the movers: the packed tokens of a DINOv2 step through ViT-B, and the prototype logits of its CLS tokens.
type moverSizes struct {
	tokens, dim, heads, rows, prototypes, bottleneck, images, side, patch int
	blocks, width                                                         int // of the parameters
}

func (b *bench) moverSizes() moverSizes {
	if b.dry {
		return moverSizes{tokens: 6, dim: 64, heads: 1, rows: 6, prototypes: 64, bottleneck: 32, images: 1, side: 28, patch: 14, blocks: 1, width: 16}
	}
	return moverSizes{tokens: tokens, dim: 768, heads: 12, rows: 640, prototypes: 65536, bottleneck: 256, images: 128, side: 224, patch: 14, blocks: 12, width: 768}
}

// memorySection is the kernels that only move bytes, as a share of a device copy measured in the same round.
func memorySection(b *bench, t *table) error {
	g, err := b.open(versions{})
	if err != nil {
		return err
	}
	defer g.close()
	if err := g.prepare(b); err != nil {
		return err
	}
	p := b.torchKernels()
	if p != nil {
		defer p.Close()
	}
	s := newStore(g)
	z := b.moverSizes()
	copyBytes := z.tokens * z.dim * 4
	from, err := s.empty(tensor.F32, z.tokens, z.dim)
	if err != nil {
		return err
	}
	to, err := s.empty(tensor.F32, z.tokens, z.dim)
	if err != nil {
		return err
	}
	defer func(first []*tensor.Buffer) {
		s.held = first
		s.release()
	}(s.held)
	s.held = nil
	g.backend.Upload(from, s.host(tensor.F32, z.tokens, z.dim))
	copies := []contestant{ours{g, func() { g.backend.Copy(to, from) }}}
	if p != nil {
		if _, err := prepare(p, "copy %d", copyBytes); err != nil {
			return err
		}
		copies = append(copies, torch{p, "copy"})
	}
	ns, err := race(b.rounds, copies...)
	if err != nil {
		return err
	}
	t.title = "## Kernels that move bytes\n\n"
	t.printf("\nGB/s of the bytes that must move (every input read once, every output written once), medians, as a share of a device-to-device\ncopy of %d MiB that takes turns with the kernel (read and written bytes counted).\n\n", copyBytes>>20)
	t.printf("- Copy by the driver: %.0f GB/s\n", 2*float64(copyBytes)/ns[0])
	if p != nil {
		t.printf("- Copy by PyTorch: %.0f GB/s\n", 2*float64(copyBytes)/ns[1])
	}
	t.printf("\n| kernel | operands | MB | µs | GB/s | of copy |\n|---|---|---:|---:|---:|---:|\n")
	var shares []float64
	for _, build := range movers {
		m, err := build(s, z)
		if err == nil {
			ns, err = race(b.rounds, ours{g, func() { m.work(g) }}, copies[0])
		}
		s.release()
		if err != nil {
			log.Print(err)
			t.printf("| %s | %v |\n", m.name, err)
			continue
		}
		speed, top := float64(m.bytes)/ns[0], 2*float64(copyBytes)/ns[1]
		shares = append(shares, speed/top)
		t.printf("| %s | %s | %.0f | %.0f | %.0f | %.0f %% |\n", m.name, m.shape, float64(m.bytes)/1e6, ns[0]/1e3, speed, 100*speed/top)
	}
	if len(shares) > 0 {
		least := shares[0]
		for _, v := range shares {
			least = min(least, v)
		}
		t.printf("\n- Share of copy: median %.0f %%, least %.0f %%\n", 100*peer.Median(shares), 100*least)
	}
	return nil
}

// operands collects device tensors and the first error.
type operands struct {
	s   *store
	err error
}

func (o *operands) normal(d tensor.DType, shape ...int) *tensor.Tensor {
	if o.err != nil {
		return nil
	}
	_, t, err := o.s.normal(d, shape...)
	o.err = err
	return t
}

func (o *operands) empty(d tensor.DType, shape ...int) *tensor.Tensor {
	if o.err != nil {
		return nil
	}
	t, err := o.s.empty(d, shape...)
	o.err = err
	return t
}

func (o *operands) index(v []int32) *tensor.Tensor {
	if o.err != nil {
		return nil
	}
	t, err := o.s.upload(tensor.FromI32(v, len(v)))
	o.err = err
	return t
}

const (
	bf16 = tensor.BF16
	f32  = tensor.F32
)

// simple is a mover over operands of one shape.
func simple(name string, rows, cols func(moverSizes) int, call func(o *operands, rows, cols int) (int64, func(*gpu))) func(*store, moverSizes) (mover, error) {
	return func(s *store, z moverSizes) (mover, error) {
		o := &operands{s: s}
		r, c := rows(z), cols(z)
		bytes, work := call(o, r, c)
		return mover{name: name, shape: fmt.Sprintf("%d x %d", r, c), bytes: bytes, work: work}, o.err
	}
}

func nTokens(z moverSizes) int     { return z.tokens }
func nRows(z moverSizes) int       { return z.rows }
func nDim(z moverSizes) int        { return z.dim }
func nHidden(z moverSizes) int     { return 4 * z.dim }
func nPrototypes(z moverSizes) int { return z.prototypes }
func nBottleneck(z moverSizes) int { return z.bottleneck }

var movers = []func(*store, moverSizes) (mover, error){
	simple("Fill bf16", nTokens, nDim, func(o *operands, r, c int) (int64, func(*gpu)) {
		x := o.empty(bf16, r, c)
		return kernels.Bytes(x), func(g *gpu) { g.backend.Fill(x, 1) }
	}),
	simple("Copy f32 to bf16", nTokens, nDim, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, y := o.normal(f32, r, c), o.empty(bf16, r, c)
		return kernels.Bytes(x, y), func(g *gpu) { g.backend.Copy(y, x) }
	}),
	simple("Axpy bf16", nTokens, nDim, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, y := o.normal(bf16, r, c), o.normal(bf16, r, c)
		return kernels.Bytes(x, y, y), func(g *gpu) { g.backend.Axpy(y, 1e-3, x) }
	}),
	simple("ScaleRowsCols", nTokens, nDim, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, y, row, col := o.normal(bf16, r, c), o.empty(bf16, r, c), o.normal(f32, r), o.normal(f32, c)
		return kernels.Bytes(x, y, row, col), func(g *gpu) { g.backend.ScaleRowsCols(y, x, row, col) }
	}),
	simple("Dropout", nTokens, nDim, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, y := o.normal(bf16, r, c), o.empty(bf16, r, c)
		return kernels.Bytes(x, y), func(g *gpu) { g.backend.Dropout(y, x, 0.1, 1, 2) }
	}),
	simple("ActForward GELU", nTokens, nHidden, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, y := o.normal(bf16, r, c), o.empty(bf16, r, c)
		return kernels.Bytes(x, y), func(g *gpu) { g.backend.ActForward(y, x, kernels.GELU) }
	}),
	simple("ActBackward GELU", nTokens, nHidden, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, dy, dx := o.normal(bf16, r, c), o.normal(bf16, r, c), o.empty(bf16, r, c)
		return kernels.Bytes(x, dy, dx), func(g *gpu) { g.backend.ActBackward(dx, dy, x, kernels.GELU) }
	}),
	simple("SwiGLU", nTokens, nDim, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, y := o.normal(bf16, r, 2*c), o.empty(bf16, r, c)
		return kernels.Bytes(x, y), func(g *gpu) { g.backend.SwiGLU(y, x) }
	}),
	simple("SwiGLUBackward", nTokens, nDim, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, dy, dx := o.normal(bf16, r, 2*c), o.normal(bf16, r, c), o.empty(bf16, r, 2*c)
		return kernels.Bytes(x, dy, dx), func(g *gpu) { g.backend.SwiGLUBackward(dx, dy, x) }
	}),
	simple("LayerNorm", nTokens, nDim, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, y, mean, rstd, gamma, beta := o.normal(bf16, r, c), o.empty(bf16, r, c), o.empty(f32, r), o.empty(f32, r), o.normal(bf16, c), o.normal(bf16, c)
		return kernels.Bytes(x, y, mean, rstd, gamma, beta), func(g *gpu) { g.backend.LayerNorm(y, mean, rstd, x, gamma, beta, 1e-6) }
	}),
	simple("LayerNormBackward", nTokens, nDim, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, dy, dx, mean, rstd, gamma := o.normal(bf16, r, c), o.normal(bf16, r, c), o.empty(bf16, r, c), o.normal(f32, r), o.normal(f32, r), o.normal(bf16, c)
		dgamma, dbeta := o.normal(f32, c), o.normal(f32, c)
		return kernels.Bytes(x, dy, dx, mean, rstd, gamma, dgamma, dgamma, dbeta, dbeta), func(g *gpu) {
			g.backend.LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, false)
		}
	}),
	simple("ColSum", nTokens, nHidden, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, y := o.normal(bf16, r, c), o.empty(f32, c)
		return kernels.Bytes(x, y), func(g *gpu) { g.backend.ColSum(y, x, 1, false) }
	}),
	simple("Sum", nTokens, nHidden, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, y := o.normal(bf16, r, c), o.empty(f32, 1)
		return kernels.Bytes(x, y), func(g *gpu) { g.backend.Sum(y, x, 1, false) }
	}),
	ropeMover,
	simple("GatherRows", nTokens, nDim, func(o *operands, r, c int) (int64, func(*gpu)) {
		index := make([]int32, r)
		for i := range index {
			index[i] = int32(i * 7919 % r) // a permutation: the prime divides no size
		}
		table, y, at := o.normal(bf16, r, c), o.empty(bf16, r, c), o.index(index)
		return kernels.Bytes(table, y, at), func(g *gpu) { g.backend.GatherRows(y, table, at, false) }
	}),
	simple("ScatterRows", nTokens, nDim, func(o *operands, r, c int) (int64, func(*gpu)) {
		starts, rows := make([]int32, r+1), make([]int32, r)
		for i := range rows {
			starts[i+1], rows[i] = int32(i+1), int32(i*7919%r)
		}
		dout, dtable, first, list := o.normal(bf16, r, c), o.empty(bf16, r, c), o.index(starts), o.index(rows)
		return kernels.Bytes(dout, dtable, first, list), func(g *gpu) { g.backend.ScatterRows(dtable, dout, first, list, false) }
	}),
	patchifyMover,
	simple("L2Normalize", nTokens, nBottleneck, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, y, norm := o.normal(bf16, r, c), o.empty(bf16, r, c), o.empty(f32, r)
		return kernels.Bytes(x, y, norm), func(g *gpu) { g.backend.L2Normalize(y, norm, x, 1e-12) }
	}),
	simple("L2NormalizeBackward", nTokens, nBottleneck, func(o *operands, r, c int) (int64, func(*gpu)) {
		dx, dy, y, norm := o.empty(bf16, r, c), o.normal(bf16, r, c), o.normal(bf16, r, c), o.normal(f32, r)
		return kernels.Bytes(dx, dy, y, norm), func(g *gpu) { g.backend.L2NormalizeBackward(dx, dy, y, norm, 1e-12) }
	}),
	simple("WeightNorm", nPrototypes, nBottleneck, func(o *operands, r, c int) (int64, func(*gpu)) {
		w, norm, v, gain := o.empty(bf16, r, c), o.empty(f32, r), o.normal(bf16, r, c), o.normal(f32, r)
		return kernels.Bytes(w, norm, v, gain), func(g *gpu) { g.backend.WeightNorm(w, norm, v, gain) }
	}),
	simple("WeightNormBackward", nPrototypes, nBottleneck, func(o *operands, r, c int) (int64, func(*gpu)) {
		dv, dgain, dw, v, gain, norm := o.normal(f32, r, c), o.normal(f32, r), o.normal(bf16, r, c), o.normal(bf16, r, c), o.normal(f32, r), o.normal(f32, r)
		return kernels.Bytes(dv, dv, dgain, dgain, dw, v, gain, norm), func(g *gpu) { g.backend.WeightNormBackward(dv, dgain, dw, v, gain, norm) }
	}),
	simple("RowLogSumExp", nRows, nPrototypes, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, lse, centre := o.normal(bf16, r, c), o.empty(f32, r), o.normal(f32, c)
		return kernels.Bytes(x, lse, centre), func(g *gpu) { g.backend.RowLogSumExp(lse, x, centre, 10) }
	}),
	simple("ColSumExp", nRows, nPrototypes, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, y, lse, centre := o.normal(bf16, r, c), o.empty(f32, c), o.normal(f32, r), o.normal(f32, c)
		return kernels.Bytes(x, y, lse, centre), func(g *gpu) { g.backend.ColSumExp(y, x, centre, lse, 1) }
	}),
	simple("SoftmaxRows", nRows, nPrototypes, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, y, lse, centre := o.normal(bf16, r, c), o.empty(bf16, r, c), o.normal(f32, r), o.normal(f32, c)
		return kernels.Bytes(x, y, lse, centre), func(g *gpu) { g.backend.SoftmaxRows(y, x, centre, lse, 1) }
	}),
	crossEntropyMover,
	simple("ColMoments", nRows, nPrototypes, func(o *operands, r, c int) (int64, func(*gpu)) {
		x, mean, variance := o.normal(bf16, r, c), o.empty(f32, c), o.empty(f32, c)
		return kernels.Bytes(x, mean, variance), func(g *gpu) { g.backend.ColMoments(mean, variance, x) }
	}),
	gradSquaresMover,
	adamWMover,
}

// ropeMover rotates q and k of a third of the columns each.
func ropeMover(s *store, z moverSizes) (mover, error) {
	o := &operands{s: s}
	d := z.dim / z.heads
	grid := 256
	index := make([]int32, z.tokens)
	for i := range index {
		index[i] = int32(i % grid)
	}
	qkv, cos, sin, at := o.normal(bf16, z.tokens, 3*z.dim), o.normal(f32, grid, d/2), o.normal(f32, grid, d/2), o.index(index)
	m := mover{name: "RoPE", shape: fmt.Sprintf("q and k of %d x %d", z.tokens, 3*z.dim)}
	if o.err == nil {
		m.bytes = kernels.Bytes(qkv)*2/3*2 + kernels.Bytes(cos, sin, at)
		m.work = func(g *gpu) { g.backend.RoPE(qkv, cos, sin, at, z.heads, false) }
	}
	return m, o.err
}

func patchifyMover(s *store, z moverSizes) (mover, error) {
	o := &operands{s: s}
	grid := z.side / z.patch
	images, y := o.normal(f32, z.images, 3, z.side, z.side), o.empty(bf16, z.images*grid*grid, 3*z.patch*z.patch)
	return mover{name: "Patchify", shape: fmt.Sprintf("%d x 3 x %d x %d", z.images, z.side, z.side), bytes: kernels.Bytes(images, y),
		work: func(g *gpu) { g.backend.Patchify(y, images, z.patch) }}, o.err
}

// crossEntropyMover is the loss of local crops: eight student rows meet two teacher rows each. Every student logit is
// read and its gradient written, every teacher logit read once.
func crossEntropyMover(s *store, z moverSizes) (mover, error) {
	o := &operands{s: s}
	students, teachers := z.rows, max(2, z.rows/4)
	starts, rows := make([]int32, students+1), make([]int32, 2*students)
	for i := range students {
		image := i * (teachers / 2) / students
		starts[i+1], rows[2*i], rows[2*i+1] = int32(2*i+2), int32(2*image), int32(2*image+1)
	}
	weights := o.normal(f32, 2*students)
	c := kernels.CrossEntropy{
		Loss: o.empty(f32, 2*students), DS: o.empty(bf16, students, z.prototypes), S: o.normal(bf16, students, z.prototypes), SLSE: o.normal(f32, students),
		T: o.normal(bf16, teachers, z.prototypes), TLSE: o.normal(f32, teachers), Centre: o.normal(f32, z.prototypes), SInvTemp: 1, TInvTemp: 1,
		Starts: o.index(starts), Rows: o.index(rows), Weights: weights,
	}
	return mover{name: "CrossEntropy", shape: fmt.Sprintf("%d and %d x %d", students, teachers, z.prototypes),
		bytes: kernels.Bytes(c.Loss, c.DS, c.S, c.SLSE, c.T, c.TLSE, c.Centre, c.Starts, c.Rows, c.Weights),
		work:  func(g *gpu) { g.backend.CrossEntropy(c) }}, o.err
}

// parameters is a table of the parameters of some blocks, with teacher and bf16 copies.
func parameters(o *operands, z moverSizes) *kernels.ParamTable {
	dim := z.width
	p := &kernels.ParamTable{Groups: 1}
	add := func(shape ...int) {
		p.Entries = append(p.Entries, kernels.ParamEntry{
			Param: o.normal(f32, shape...), Grad: o.normal(f32, shape...), M: o.normal(f32, shape...), V: o.empty(f32, shape...), EMA: o.normal(f32, shape...),
			Half: o.empty(bf16, shape...), EMA16: o.empty(bf16, shape...), LRMul: 1, WDMul: 1,
		})
		if e := p.Entries[len(p.Entries)-1]; o.err == nil {
			o.s.g.backend.Fill(e.V, 1)
		}
	}
	for range z.blocks {
		add(3*dim, dim)
		add(dim, dim)
		add(4*dim, dim)
		add(dim, 4*dim)
		for range 9 {
			add(dim)
		}
	}
	return p
}

func gradSquaresMover(s *store, z moverSizes) (mover, error) {
	o := &operands{s: s}
	p := parameters(o, z)
	y := o.empty(f32, 1)
	m := mover{name: "GradSquares", shape: fmt.Sprintf("%d blocks of width %d", z.blocks, z.width)}
	if o.err == nil {
		for _, e := range p.Entries {
			m.bytes += kernels.Bytes(e.Grad)
		}
		m.work = func(g *gpu) { g.backend.GradSquares(y, p) }
	}
	return m, o.err
}

func adamWMover(s *store, z moverSizes) (mover, error) {
	o := &operands{s: s}
	p := parameters(o, z)
	scale := o.empty(f32, 1)
	m := mover{name: "AdamW + teacher", shape: fmt.Sprintf("%d blocks of width %d", z.blocks, z.width)}
	if o.err == nil {
		s.g.backend.Fill(scale, 1)
		m.bytes = kernels.AdamWBytes(p)
		step := kernels.AdamWStep{Step: 10, LR: 1e-4, WD: 0.04, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Momentum: 0.99}
		m.work = func(g *gpu) { g.backend.AdamW(p, scale, step) }
	}
	return m, o.err
}
