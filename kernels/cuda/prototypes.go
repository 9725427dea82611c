package cuda

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// RowLogSumExp is lse[r] = log Σ_k exp((x[r,k]-centre[k])·invTemp).
func (b *Backend) RowLogSumExp(lse, x, centre *tensor.Tensor, invTemp float64) {
	kernels.CheckRowLogSumExp(lse, x, centre)
	mustDevice(x.DType())
	rows, cols := kernels.Matrix(x)
	b.args.reset().ptr(lse).ptr(x).ptr(centre).f32(invTemp).i32(rows, cols)
	if b.wide(cols, x, centre) {
		if cols >= 16384 { // rows are few where they are long: more threads for each
			b.run("wide", wideForm("row_lse", x), [3]int{rows, 1, 1}, [3]int{512, 1, 1}, 0)
			return
		}
		b.rows("wide", wideForm("row_lse", x), rows, cols)
		return
	}
	name, _ := form("row_lse", vec(cols, x, centre), x)
	b.rows("prototypes", name, rows, cols)
}

// ColSumExp is out[k] = Σ_r exp((x[r,k]-centre[k])·invTemp - lse[r]).
func (b *Backend) ColSumExp(out, x, centre, lse *tensor.Tensor, invTemp float64) {
	kernels.CheckColSumExp(out, x, centre, lse)
	mustDevice(x.DType())
	rows, cols := kernels.Matrix(x)
	if rows == 0 {
		b.Fill(out, 0)
		return
	}
	if b.wide(cols, x, centre, out) {
		b.args.reset().ptr(out).ptr(x).ptr(centre).ptr(lse).f32(invTemp).i32(rows, cols)
		b.wideColumns(wideForm("col_sum_exp", x), cols, 4)
		return
	}
	s := stripeRows(rows)
	stripes := (rows + s - 1) / s
	partial := b.scratch.floats(stripes * cols)
	name, per := form("col_sum_exp", vec(cols, x, centre), x)
	b.args.reset().ptr(partial).ptr(x).ptr(centre).ptr(lse).f32(invTemp).i32(rows, cols, s)
	b.columns("prototypes", name, cols, stripes, per)
	b.colReduce(out, nil, partial, 1, false, stripes, cols)
}

// SoftmaxRows is p[r,k] = exp((x[r,k]-centre[k])·invTemp - lse[r]).
func (b *Backend) SoftmaxRows(p, x, centre, lse *tensor.Tensor, invTemp float64) {
	kernels.CheckSoftmaxRows(p, x, centre, lse)
	mustDevice(x.DType())
	_, cols := kernels.Matrix(x)
	name, per := form("softmax_rows", vec(cols, p, x, centre), x)
	b.args.reset().ptr(p).ptr(x).ptr(centre).ptr(lse).f32(invTemp).i32(cols, x.Len())
	b.each("prototypes", name, x.Len(), per)
}

// SinkhornCentre is the prototype step of Sinkhorn-Knopp.
func (b *Backend) SinkhornCentre(centre, colsum *tensor.Tensor, scale, invTemp float64) {
	kernels.CheckSinkhornCentre(centre, colsum)
	mustDevice(centre.DType())
	b.args.reset().ptr(centre).ptr(colsum).f32(scale, invTemp).i32(centre.Len())
	b.each("prototypes", "sinkhorn_centre", centre.Len(), 1)
}

// CrossEntropy is the student/teacher loss over prototypes.
func (b *Backend) CrossEntropy(c kernels.CrossEntropy) {
	kernels.CheckCrossEntropy(c)
	mustDevice(c.S.DType())
	rows, cols := kernels.Matrix(c.S)
	if b.wide(cols, c.S, c.T, c.DS, c.Centre) {
		b.crossEntropyStripes(c, rows, cols)
		return
	}
	name, _ := form("cross_entropy", vec(cols, c.S, c.T, c.DS, c.Centre), c.S)
	b.args.reset().ptr(c.Loss).ptr(c.DS).ptr(c.S).ptr(c.SLSE).ptr(c.T).ptr(c.TLSE).ptr(c.Centre).f32(c.SInvTemp, c.TInvTemp).
		ptr(c.Starts).ptr(c.Rows).ptr(c.Weights).i32(rows, cols)
	b.rows("prototypes", name, rows, cols)
}
