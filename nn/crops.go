package nn

import (
	"fmt"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Group is a batch of crops of one size. A forward pass takes several groups at once.
type Group struct {
	Images *tensor.Tensor // f32 [B, C, H, W] on the backend's device
	// Mask marks the patches that the mask token replaces, B·gh·gw in row-major order; nil for none.
	Mask []bool
	// Keys are the keys of the crops in the random streams of drop path, so that a crop draws the same numbers
	// wherever it is in a batch. nil numbers the crops of the forward pass from 0.
	Keys []uint32
	// Whole lists the keys of all crops of the training step that this group is a part of, in any order and including
	// Keys. Drop path by subset chooses among these crops, so that the parts of a step together keep the same crops as
	// one pass over all of them. nil means that the group is the whole step.
	Whole []uint32
}

// GroupLayout is the position of one group in the packed token matrix.
type GroupLayout struct {
	Batch         int
	Height, Width int // pixels
	GridH, GridW  int // patches
	FirstCrop     int
	FirstToken    int
	FirstPatch    int // counting patches of all groups
	table         int // first row of this grid in the position table of the pass
}

// Patches returns the number of patches of one crop.
func (g GroupLayout) Patches() int { return g.GridH * g.GridW }

// Layout describes the packed token matrix of a forward pass: crop after crop, each [CLS, registers, patches row by
// row]. It depends on the shapes of the groups alone and is made once for each combination of shapes.
type Layout struct {
	Groups  []GroupLayout
	Prefix  int // tokens before the patches of a crop: CLS and registers
	Crops   int
	Tokens  int
	Patches int
	Seqs    kernels.Sequences

	cropOf   []int32 // for each token its crop
	cls      []int32
	clsRows  autograd.RowMap
	patchOf  []int32 // for each token its patch, or -1
	tokenOf  []int32 // for each patch its token
	addOf    []int32 // for each token its row of the table that is added to all crops, or -1
	table    int     // rows of that table
	patchMap autograd.RowMap
	add      *tensor.Tensor // addOf on the device
	// inverse of addOf: starts and rows
	addStarts, addRows *tensor.Tensor
	ropeHost           []int32        // for each token its row of the RoPE tables, -1 for prefix tokens
	ropeIndex          *tensor.Tensor // the same on the device
	ropeRows           int
}

// CLSRows lists the rows of the CLS tokens, in crop order. It returns the same slice at every call, which Options.Rows
// recognises, so that no index tables have to be made. The caller must not change it.
func (l *Layout) CLSRows() []int32 { return l.cls }

// Row returns the row of patch p (counted row by row) of crop i of group g.
func (l *Layout) Row(g, i, p int) int32 {
	q := l.Groups[g]
	return int32(q.FirstToken + i*(l.Prefix+q.Patches()) + l.Prefix + p)
}

// CLSRow returns the row of the CLS token of crop i of group g.
func (l *Layout) CLSRow(g, i int) int32 {
	q := l.Groups[g]
	return int32(q.FirstToken + i*(l.Prefix+q.Patches()))
}

// MaskedRows appends the rows of the masked patches of group g, crop by crop, to dst.
func (l *Layout) MaskedRows(dst []int32, g int, mask []bool) []int32 {
	n := l.Groups[g].Patches()
	for j, m := range mask {
		if m {
			dst = append(dst, l.Row(g, j/n, j%n))
		}
	}
	return dst
}

// matches reports whether the layout was made for groups of these shapes.
func (l *Layout) matches(groups []Group) bool {
	if len(groups) != len(l.Groups) {
		return false
	}
	for i, g := range groups {
		s, q := g.Images.Shape(), &l.Groups[i]
		if len(s) != 4 || s[0] != q.Batch || s[2] != q.Height || s[3] != q.Width {
			return false
		}
	}
	return true
}

// layoutCache is the number of layouts a model keeps; a run uses two or three.
const layoutCache = 16

// Layout returns the layout of the groups, from a cache where it can. The error names the group whose images do not
// fit the model.
func (v *ViT) Layout(groups []Group) (*Layout, error) {
	for _, l := range v.layouts {
		if l.matches(groups) {
			return l, nil
		}
	}
	l := &Layout{Prefix: v.Config.Prefix()}
	for i, g := range groups {
		s := g.Images.Shape()
		p := v.Config.PatchSize
		if len(s) != 4 || s[1] != v.Config.Channels {
			return nil, fmt.Errorf("nn: group %d: images of shape %s; the model wants [B %d H W]", i, s, v.Config.Channels)
		}
		if s[2] < p || s[3] < p {
			return nil, fmt.Errorf("nn: group %d: images of %d x %d pixels are smaller than one patch of %d", i, s[2], s[3], p)
		}
		q := GroupLayout{
			Batch: s[0], Height: s[2], Width: s[3], GridH: s[2] / p, GridW: s[3] / p,
			FirstCrop: l.Crops, FirstToken: l.Tokens, FirstPatch: l.Patches,
		}
		l.Groups = append(l.Groups, q)
		l.Crops += q.Batch
		l.Tokens += q.Batch * (l.Prefix + q.Patches())
		l.Patches += q.Batch * q.Patches()
		l.Seqs.MaxLen = max(l.Seqs.MaxLen, l.Prefix+q.Patches())
	}
	if err := v.fillLayout(l); err != nil {
		return nil, err
	}
	if len(v.layouts) == layoutCache {
		copy(v.layouts, v.layouts[1:])
		v.layouts = v.layouts[:layoutCache-1]
	}
	v.layouts = append(v.layouts, l)
	return l, nil
}

// fillLayout computes the index tables and uploads them.
func (v *ViT) fillLayout(l *Layout) error {
	l.table = v.placeGrids(l)
	l.patchOf = make([]int32, 0, l.Tokens)
	l.tokenOf = make([]int32, 0, l.Patches)
	l.addOf = make([]int32, 0, l.Tokens)
	l.cropOf = make([]int32, 0, l.Tokens)
	for gi := range l.Groups {
		q := &l.Groups[gi]
		for b := 0; b < q.Batch; b++ {
			start := int32(len(l.addOf))
			l.Seqs.Host = append(l.Seqs.Host, start)
			l.cls = append(l.cls, start)
			for range l.Prefix + q.Patches() {
				l.cropOf = append(l.cropOf, int32(q.FirstCrop+b))
			}
			for i := 0; i < l.Prefix; i++ {
				l.patchOf = append(l.patchOf, -1)
				l.addOf = append(l.addOf, int32(i))
				l.ropeHost = append(l.ropeHost, -1)
			}
			for p := 0; p < q.Patches(); p++ {
				l.tokenOf = append(l.tokenOf, int32(len(l.patchOf)))
				l.patchOf = append(l.patchOf, int32(len(l.tokenOf)-1))
				row := int32(-1)
				if v.Pos != nil {
					row = int32(q.table + p)
				}
				l.addOf = append(l.addOf, row)
				l.ropeHost = append(l.ropeHost, int32(l.ropeRows+p))
			}
		}
		l.ropeRows += q.Patches()
	}
	l.Seqs.Host = append(l.Seqs.Host, int32(l.Tokens))
	starts, rows := invert(l.addOf, l.table)
	up := uploader{v: v}
	l.Seqs.Starts = up.i32(l.Seqs.Host)
	l.clsRows = up.rowMap(l.cls, l.Tokens)
	l.patchMap = autograd.RowMap{Index: up.i32(l.patchOf), Inverse: up.i32(l.tokenOf)}
	l.add, l.addStarts, l.addRows = up.i32(l.addOf), up.i32(starts), up.i32(rows)
	if v.Config.RoPE.Theta > 0 {
		l.ropeIndex = up.i32(l.ropeHost)
	}
	return up.err
}

// placeGrids assigns every distinct grid its rows in the table of added rows, behind CLS and registers, and returns
// the number of rows of the table.
func (v *ViT) placeGrids(l *Layout) int {
	rows := l.Prefix
	if v.Pos == nil {
		return rows
	}
	for i := range l.Groups {
		q := &l.Groups[i]
		q.table = -1
		for j := 0; j < i; j++ {
			if o := &l.Groups[j]; o.Height == q.Height && o.Width == q.Width {
				q.table = o.table
			}
		}
		if q.table < 0 {
			q.table = rows
			rows += q.Patches()
		}
	}
	return rows
}

// invert turns an index (token -> table row, or -1) into the sorted lists that ScatterRows sums over.
func invert(index []int32, rows int) (starts, list []int32) {
	starts = make([]int32, rows+1)
	for _, r := range index {
		if r >= 0 {
			starts[r+1]++
		}
	}
	for r := 0; r < rows; r++ {
		starts[r+1] += starts[r]
	}
	list = make([]int32, starts[rows])
	next := append([]int32(nil), starts[:rows]...)
	for i, r := range index {
		if r >= 0 {
			list[next[r]] = int32(i)
			next[r]++
		}
	}
	return starts, list
}

// uploader copies tables to device memory that lives as long as the model. It keeps the first error.
type uploader struct {
	v   *ViT
	err error
}

func (u *uploader) i32(host []int32) *tensor.Tensor {
	if u.err != nil {
		return nil
	}
	var t *tensor.Tensor
	t, u.err = kernels.FromHost(u.v.backend, tensor.FromI32(host, len(host)))
	return t
}

func (u *uploader) rowMap(rows []int32, n int) (m autograd.RowMap) {
	if u.err == nil {
		m, u.err = autograd.NewRowMap(u.v.backend, rows, n)
	}
	return m
}
