package nn

import (
	"slices"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// dropPurpose separates the random streams of drop path from other streams of the seed. The branch number is added to
// it.
const dropPurpose = 0x01_00_01_00

// rate is the drop probability of block i.
func (c DropPathConfig) rate(i, depth int) float64 {
	if !c.Linear {
		return c.Rate
	}
	if depth == 1 {
		return 0
	}
	return c.Rate * float64(i) / float64(depth-1)
}

// passInputs holds the inputs of all blocks of one forward pass besides the tokens. All of them are uploaded before
// the first block, so that a pass on an accelerator does not wait for copies.
type passInputs struct {
	v       *ViT
	t       *autograd.Tape
	l       *Layout
	groups  []Group
	draw    Draw
	rows    *autograd.RowMap
	rowsAt  []int32 // host form of rows
	hidden  bool    // every row of every block is read
	queries *tensor.Tensor
	rope    ropeTable
	blocks  []blockInput
}

func (v *ViT) blockInputs(t *autograd.Tape, l *Layout, groups []Group, o Options) *passInputs {
	in := &passInputs{v: v, t: t, l: l, groups: groups, draw: o.Draw, hidden: o.Hidden}
	if o.Rows != nil {
		in.rowsAt = o.Rows
		in.rows = v.rowMap(t, l, o.Rows)
	}
	if o.Attention != nil {
		in.queries = v.upload(t, o.Attention.Queries)
	}
	if c := v.Config.RoPE; c.Theta > 0 {
		switch {
		case !o.Draw.Train || !c.augments():
			in.rope = v.rope(l)
		case !c.PerBlock:
			in.rope = v.randomRope(t, l, o.Draw, -1)
		}
	}
	in.fill()
	return in
}

// fill makes the inputs of all blocks. The drop-path factors of all blocks are uploaded in one copy.
func (in *passInputs) fill() {
	s := &in.v.scratch
	in.blocks = s.blocks[:0]
	for i := range in.v.Blocks {
		in.blocks = append(in.blocks, in.block(i))
	}
	s.blocks = in.blocks
	depth, c := len(in.blocks), in.v.Config.DropPath
	if !in.draw.Train || c.Rate == 0 || c.Subset {
		return
	}
	s.scales, s.ends = s.scales[:0], s.ends[:0]
	for branch := range 2 * depth {
		if p := c.rate(branch/2, depth); p > 0 {
			in.dropCrops(branch, p)
			in.rowScales(in.rowsOf(branch / 2))
		}
		s.ends = append(s.ends, len(s.scales))
	}
	if len(s.scales) == 0 {
		return
	}
	all := kernels.FromHostIn(in.t.A, in.v.backend, tensor.FromF32(s.scales, len(s.scales)))
	lo := 0
	for branch, hi := range s.ends {
		if hi > lo {
			b := &in.blocks[branch/2]
			if branch%2 == 0 {
				b.attn.scale = all.Rows(lo, hi)
			} else {
				b.mlp.scale = all.Rows(lo, hi)
			}
		}
		lo = hi
	}
}

// rowMap returns the index tables of a list of rows.
func (v *ViT) rowMap(t *autograd.Tape, l *Layout, rows []int32) *autograd.RowMap {
	if len(rows) > 0 && &rows[0] == &l.cls[0] && len(rows) == len(l.cls) {
		return &l.clsRows
	}
	m := t.RowMap(rows, l.Tokens)
	return &m
}

// block makes the inputs of block i.
func (in *passInputs) block(i int) blockInput {
	v, l := in.v, in.l
	b := blockInput{draw: in.draw}
	b.attn = branchInput{seqs: l.Seqs, rope: in.rope, index: l.ropeIndex}
	if v.Config.RoPE.Theta > 0 && in.rope.cos == nil {
		b.attn.rope = v.randomRope(in.t, l, in.draw, i)
	}
	rows := in.rowsOf(i)
	if rows != nil {
		b.rows = in.rows
	}
	p := v.Config.DropPath.rate(i, len(v.Blocks))
	if !in.draw.Train || p == 0 || !v.Config.DropPath.Subset {
		return b
	}
	in.subsetCrops(2*i, p)
	in.pick(&b.attn, true)
	if rows == nil {
		in.subsetCrops(2*i+1, p)
		in.pick(&b.mlp, false)
		return b
	}
	if !b.attn.skip {
		b.few = in.positions(rows)
		b.attn.scale = in.factors(rows)
	}
	in.subsetCrops(2*i+1, p)
	b.mlp.scale = in.factors(rows)
	return b
}

// rowsOf returns the rows of the result of block i that are needed, nil for all: only the last block may leave rows out.
func (in *passInputs) rowsOf(i int) []int32 {
	if i != len(in.v.Blocks)-1 || in.hidden {
		return nil
	}
	return in.rowsAt
}

// positions returns where the given rows are among those that pick has listed in the scratch; -1 for the others.
func (in *passInputs) positions(rows []int32) *autograd.RowMap {
	picked := in.v.scratch.rows
	at := make([]int32, in.l.Tokens)
	for i := range at {
		at[i] = -1
	}
	for i, r := range picked {
		at[r] = int32(i)
	}
	index, inverse := make([]int32, len(rows)), make([]int32, len(picked))
	for i := range inverse {
		inverse[i] = -1
	}
	for i, r := range rows {
		index[i] = at[r]
		if at[r] >= 0 {
			inverse[at[r]] = int32(i)
		}
	}
	return &autograd.RowMap{Index: in.v.upload(in.t, index), Inverse: in.v.upload(in.t, inverse)}
}

// factors uploads the drop-path factors of the given rows, from those of the crops in the scratch.
func (in *passInputs) factors(rows []int32) *tensor.Tensor {
	s := &in.v.scratch
	s.scales = s.scales[:0]
	in.rowScales(rows)
	return kernels.FromHostIn(in.t.A, in.v.backend, tensor.FromF32(s.scales, len(s.scales)))
}

// uniform draws from [0, 1) for one crop and one branch.
func (in *passInputs) uniform(crop uint32, branch int) float64 {
	d := in.draw
	w := tensor.Philox([2]uint32{uint32(d.Seed), uint32(d.Seed >> 32)}, [4]uint32{0, crop, d.Step, dropPurpose + uint32(branch)})
	return float64(uint64(w[0])<<21^uint64(w[1])>>11) / (1 << 53)
}

func (in *passInputs) key(group, i int) uint32 {
	if k := in.groups[group].Keys; k != nil {
		return k[i]
	}
	return uint32(in.l.Groups[group].FirstCrop + i)
}

// dropCrops draws the factor of every crop into the scratch: 0 with probability p, else 1/(1-p).
func (in *passInputs) dropCrops(branch int, p float64) {
	l, s := in.l, &in.v.scratch
	s.crops = s.crops[:0]
	for gi := range l.Groups {
		for i := range l.Groups[gi].Batch {
			f := float32(0)
			if in.uniform(in.key(gi, i), branch) >= p {
				f = float32(1 / (1 - p))
			}
			s.crops = append(s.crops, f)
		}
	}
}

// rowScales appends the factor of every row to the scratch: that of its crop. rows restricts it to those rows; nil means
// all.
func (in *passInputs) rowScales(rows []int32) {
	l, s := in.l, &in.v.scratch
	if rows != nil {
		for _, r := range rows {
			s.scales = append(s.scales, s.crops[l.cropOf[r]])
		}
		return
	}
	for _, c := range l.cropOf {
		s.scales = append(s.scales, s.crops[c])
	}
}

// own converts positions in the list of the whole step's keys to the positions of the same crops in group gi. Crops of
// other parts of the step are left out.
func (in *passInputs) own(gi int, picked []int) []int {
	at := make(map[uint32]int, in.l.Groups[gi].Batch)
	for i := range in.l.Groups[gi].Batch {
		at[in.key(gi, i)] = i
	}
	out := picked[:0]
	for _, i := range picked {
		if j, ok := at[in.groups[gi].Whole[i]]; ok {
			out = append(out, j)
		}
	}
	return out
}

// subsetCrops draws the crops of every group that a branch runs on, max(int(B·(1-p)), 1) of the B crops of the step, and
// leaves the factor of every crop of this part of the step in the scratch: B over their number, or 0 for a crop that skips
// the branch. A part of a step may have none that takes it.
func (in *passInputs) subsetCrops(branch int, p float64) {
	l, s := in.l, &in.v.scratch
	s.crops = s.crops[:0]
	for gi := range l.Groups {
		q := &l.Groups[gi]
		whole := in.groups[gi].Whole
		total := q.Batch
		if whole != nil {
			total = len(whole)
		}
		keep := max(int(float64(total)*(1-p)), 1)
		// Ranking crops by their own draw picks a subset that does not depend on the order of the batch.
		s.perm, s.draws = s.perm[:0], s.draws[:0]
		for i := range total {
			key := uint32(0)
			if whole != nil {
				key = whole[i]
			} else {
				key = in.key(gi, i)
			}
			s.perm = append(s.perm, i)
			s.draws = append(s.draws, in.uniform(key, branch))
		}
		slices.SortStableFunc(s.perm, func(a, b int) int {
			switch {
			case s.draws[a] < s.draws[b]:
				return -1
			case s.draws[a] > s.draws[b]:
				return 1
			}
			return 0
		})
		picked := s.perm[:keep]
		if whole != nil {
			picked = in.own(gi, picked)
		}
		first := len(s.crops)
		for range q.Batch {
			s.crops = append(s.crops, 0)
		}
		for _, i := range picked {
			s.crops[first+i] = float32(float64(total) / float64(keep))
		}
	}
}

// pick makes the inputs of a branch that runs on the crops whose factor in the scratch is not 0, in their order.
func (in *passInputs) pick(b *branchInput, attention bool) {
	l, s := in.l, &in.v.scratch
	s.rows, s.scales, s.index, s.starts = s.rows[:0], s.scales[:0], s.index[:0], s.starts[:0]
	longest, crop := 0, 0
	for gi := range l.Groups {
		q := &l.Groups[gi]
		n := l.Prefix + q.Patches()
		for i := range q.Batch {
			factor := s.crops[crop]
			crop++
			if factor == 0 {
				continue
			}
			s.starts = append(s.starts, int32(len(s.rows)))
			longest = max(longest, n)
			for j := 0; j < n; j++ {
				s.rows = append(s.rows, int32(q.FirstToken+i*n+j))
				s.scales = append(s.scales, factor)
			}
		}
	}
	if len(s.rows) == 0 {
		// Every crop of this part of a step skips the branch: all rows are copied as they are.
		for r := range l.Tokens {
			s.rows = append(s.rows, int32(r))
		}
		b.pick, b.skip = in.v.rowMap(in.t, l, s.rows), true
		return
	}
	b.pick = in.v.rowMap(in.t, l, s.rows)
	b.scale = kernels.FromHostIn(in.t.A, in.v.backend, tensor.FromF32(s.scales, len(s.scales)))
	if !attention {
		return
	}
	host := append(append([]int32(nil), s.starts...), int32(len(s.rows)))
	b.seqs = kernels.Sequences{Starts: in.v.upload(in.t, host), Host: host, MaxLen: longest}
	if b.rope.cos == nil {
		return
	}
	for _, r := range s.rows {
		s.index = append(s.index, l.ropeHost[r])
	}
	b.index = in.v.upload(in.t, s.index)
}
