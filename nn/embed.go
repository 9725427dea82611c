package nn

import (
	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// embed returns the packed token matrix. A token is its patch embedding, or the mask token in its place, plus one row
// of a small table that holds CLS with its position, the registers, and the positions of each grid.
func (v *ViT) embed(t *autograd.Tape, l *Layout, groups []Group) *autograd.Var {
	masks := v.masks(t, l, groups)
	p := v.Config.PatchSize
	pixels := t.New(false, l.Patches, v.Config.Channels*p*p)
	for i, g := range groups {
		lo := l.Groups[i].FirstPatch
		v.backend.Patchify(pixels.Value.Rows(lo, lo+l.Groups[i].Batch*l.Groups[i].Patches()), g.Images, p)
	}
	patches := v.Patch.Forward(t, pixels, Epilogue{}, Draw{})
	t.Release(pixels)

	table := v.addTable(t, l)
	patchOf, tokenOf := l.patchMap.Index, l.patchMap.Inverse
	if masks != nil {
		patchOf, tokenOf = masks.patchOf, masks.tokenOf
	}
	needs := patches.NeedsGrad() || v.CLS.NeedsGrad() || varOf(v.Registers).NeedsGrad() ||
		varOf(v.Pos).NeedsGrad() || (masks != nil && v.MaskToken.NeedsGrad())
	x := t.New(needs, l.Tokens, v.Config.Dim)
	v.backend.GatherRows(x.Value, patches.Value, patchOf, false)
	v.backend.GatherRows(x.Value, table, l.add, true)
	if masks != nil {
		v.backend.GatherRows(x.Value, v.MaskToken.Master, masks.index, true)
	}
	t.A.Free(table)
	op := autograd.Op{Out: x, Uses: [4]*autograd.Var{v.CLS.Var, varOf(v.Registers), varOf(v.Pos)}}
	if masks != nil {
		op.Uses[3] = v.MaskToken.Var
	}
	if t.Recording(needs) {
		op.Backward = func(dx *tensor.Tensor) {
			if patches.NeedsGrad() {
				dp, acc := t.GradBuffer(patches)
				v.backend.GatherRows(dp, dx, tokenOf, acc)
			}
			v.addTableBackward(t, l, dx)
			if masks != nil && v.MaskToken.NeedsGrad() {
				dm, acc := t.GradBuffer(v.MaskToken.Var)
				v.backend.ScatterRows(dm, dx, masks.starts, masks.rows, acc)
			}
		}
	}
	t.Record(op)
	t.Release(patches)
	return x
}

func varOf(w *Weight) *autograd.Var {
	if w == nil {
		return nil
	}
	return w.Var
}

// addTable computes the table of rows that embed adds to the tokens. It is f32 even in a bf16 model, so that positions
// are interpolated in full precision.
func (v *ViT) addTable(t *autograd.Tape, l *Layout) *tensor.Tensor {
	b, d := v.backend, v.Config.Dim
	table := t.A.New(v.CLS.Master.DType(), l.table, d)
	b.Copy(table.Rows(0, 1), v.CLS.Master)
	if n := v.Config.Registers; n > 0 {
		b.Copy(table.Rows(1, 1+n), v.Registers.Master)
	}
	if v.Pos == nil {
		return table
	}
	grid := v.Pos.Master
	if !v.Config.NoEmbedClass {
		b.Axpy(table.Rows(0, 1), 1, grid.Rows(0, 1))
		grid = grid.Rows(1, grid.Dim(0))
	}
	v.eachGrid(l, func(rows, _ int, lo int, r *tensor.Tensor) {
		dst := table.Rows(lo, lo+rows)
		if r == nil {
			b.Copy(dst, grid)
			return
		}
		b.Gemm(kernels.Gemm{M: rows, N: d, K: grid.Dim(0), Out: dst, A: r, B: grid})
	})
	return table
}

// addTableBackward sums dx over the tokens of each table row and adds the sums to the gradients of CLS, the registers
// and, through the transposed resampling matrix, the position table.
func (v *ViT) addTableBackward(t *autograd.Tape, l *Layout, dx *tensor.Tensor) {
	if !v.CLS.NeedsGrad() && !varOf(v.Registers).NeedsGrad() && !varOf(v.Pos).NeedsGrad() {
		return
	}
	b, d := v.backend, v.Config.Dim
	sums := t.A.New(v.CLS.Master.DType(), l.table, d)
	b.ScatterRows(sums, dx, l.addStarts, l.addRows, false)
	addTo := func(dst, src *tensor.Tensor, acc bool) {
		if acc {
			b.Axpy(dst, 1, src)
			return
		}
		b.Copy(dst, src)
	}
	if v.CLS.NeedsGrad() {
		g, acc := t.GradBuffer(v.CLS.Var)
		addTo(g, sums.Rows(0, 1), acc)
	}
	if n := v.Config.Registers; n > 0 && v.Registers.NeedsGrad() {
		g, acc := t.GradBuffer(v.Registers.Var)
		addTo(g, sums.Rows(1, 1+n), acc)
	}
	if varOf(v.Pos).NeedsGrad() {
		g, acc := t.GradBuffer(v.Pos.Var)
		if !v.Config.NoEmbedClass {
			addTo(g.Rows(0, 1), sums.Rows(0, 1), acc)
			g = g.Rows(1, g.Dim(0))
		}
		v.eachGrid(l, func(rows, n int, lo int, r *tensor.Tensor) {
			src, add := sums.Rows(lo, lo+rows), acc || n > 0
			if r == nil {
				addTo(g, src, add)
				return
			}
			b.Gemm(kernels.Gemm{M: g.Dim(0), N: d, K: rows, Out: g, A: r, TransA: true, B: src, Accumulate: add})
		})
	}
	t.A.Free(sums)
}

// eachGrid calls fn once for every distinct grid of the layout, with its number of patches, its number n from 0, its
// first row lo in the table, and its resampling matrix r, which is nil for the trained grid.
func (v *ViT) eachGrid(l *Layout, fn func(rows, n, lo int, r *tensor.Tensor)) {
	n, next := 0, l.Prefix
	for i := range l.Groups {
		q := &l.Groups[i]
		if q.table < next {
			continue // shares the rows of an earlier group
		}
		fn(q.Patches(), n, q.table, v.resample(q))
		n++
		next = q.table + q.Patches()
	}
}

// maskTables are the index tables of one masked pass, in the arena.
type maskTables struct {
	patchOf, tokenOf *tensor.Tensor // as in the layout, with -1 at masked patches
	index            *tensor.Tensor // 0 at masked tokens, else -1
	starts, rows     *tensor.Tensor // the masked tokens, for the mask token's gradient
}

// masks uploads the tables of this pass, or returns nil when nothing is masked.
func (v *ViT) masks(t *autograd.Tape, l *Layout, groups []Group) *maskTables {
	any := false
	for i, g := range groups {
		if g.Mask == nil {
			continue
		}
		if len(g.Mask) != l.Groups[i].Batch*l.Groups[i].Patches() {
			panic("nn: the mask of a group does not have one entry for each patch")
		}
		for _, m := range g.Mask {
			any = any || m
		}
	}
	if !any {
		return nil
	}
	if v.MaskToken == nil {
		panic("nn: masks for a model without a mask token")
	}
	s := &v.scratch
	s.patchOf = append(s.patchOf[:0], l.patchOf...)
	s.tokenOf = append(s.tokenOf[:0], l.tokenOf...)
	s.masked = s.masked[:0]
	s.index = s.index[:0]
	for range l.patchOf {
		s.index = append(s.index, -1)
	}
	for i, g := range groups {
		for j, m := range g.Mask {
			if m {
				patch := l.Groups[i].FirstPatch + j
				token := l.tokenOf[patch]
				s.tokenOf[patch], s.patchOf[token], s.index[token] = -1, -1, 0
				s.masked = append(s.masked, token)
			}
		}
	}
	return &maskTables{
		patchOf: v.upload(t, s.patchOf), tokenOf: v.upload(t, s.tokenOf), index: v.upload(t, s.index),
		starts: v.upload(t, append(s.two[:0], 0, int32(len(s.masked)))), rows: v.upload(t, s.masked),
	}
}

// scratch is host memory that forward passes reuse.
type scratch struct {
	patchOf, tokenOf, index, masked []int32
	rows                            []int32
	two                             [2]int32
	starts                          []int32
	scales, crops                   []float32
	ends, perm                      []int
	draws                           []float64
	cos, sin                        []float64
	blocks                          []blockInput
}

// upload copies an index table into the arena.
func (v *ViT) upload(t *autograd.Tape, host []int32) *tensor.Tensor {
	return kernels.FromHostIn(t.A, v.backend, tensor.FromI32(host, len(host)))
}
