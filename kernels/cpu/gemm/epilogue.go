package gemm

import (
	"unsafe"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
)

// epilogue is what happens to the sums; see kernels.Gemm.
type epilogue struct {
	out, pre, gradOf, residual matrix
	bias, gamma, rowScale      matrix // one row
	act, actGrad               kernels.Activation
	accumulate                 bool
}

func newEpilogue(g *kernels.Gemm) epilogue {
	return epilogue{
		out: view("Out", g.Out, g.OutCol), pre: view("Pre", g.Pre, g.OutCol), gradOf: view("GradOf", g.GradOf, g.OutCol),
		residual: view("Residual", g.Residual, g.OutCol),
		bias:     view("Bias", g.Bias, 0), gamma: view("Gamma", g.Gamma, 0), rowScale: view("RowScale", g.RowScale, 0),
		act: g.Act, actGrad: g.ActGrad, accumulate: g.Accumulate,
	}
}

// plain tells that the sums are the result.
func (e *epilogue) plain() bool {
	return e.bias.base == nil && e.pre.base == nil && e.act == kernels.NoActivation && e.gradOf.base == nil &&
		e.residual.base == nil && e.gamma.base == nil && e.rowScale.base == nil
}

// outHoldsSums tells that the output may hold unfinished sums: nothing else reads what it held before.
func (e *epilogue) outHoldsSums() bool {
	return !e.out.bf16 && !e.accumulate && !e.out.overlaps(&e.residual) && !e.out.overlaps(&e.gradOf) && !e.out.overlaps(&e.pre)
}

// rowBuffers hold stretches of rows in f32 that are stored in bf16.
type rowBuffers struct{ bias, gamma, grad, residual, out *float32 }

func rowBufferSize(cols int) int { return 5 * roundUp(cols, 16) }

func newRowBuffers(p *float32, cols int) rowBuffers {
	c := roundUp(cols, 16)
	return rowBuffers{p, at(p, c), at(p, 2*c), at(p, 3*c), at(p, 4*c)}
}

// finish applies the epilogue to rows row to end and columns j to stop, whose sums are in w.block with ld floats
// from row to row. The block is small enough to be in the L1 or L2 cache still.
func (e *epilogue) finish(kn *kernel, w *work, row, end, j, stop, ld int) {
	n := stop - j
	r := &w.rows
	bias, gamma := e.bias.f32(r.bias, 0, j, n), e.gamma.f32(r.gamma, 0, j, n)
	staged := e.pre.base != nil || e.act != kernels.NoActivation || e.gradOf.base != nil
	for i := row; i < end; i++ {
		x := at(w.block, (i-row)*ld)
		b := bias
		if staged {
			if bias != nil {
				kn.finish(x, x, bias, nil, nil, 1, n, false)
				b = nil
			}
			xs := unsafe.Slice(x, n)
			if e.pre.base != nil {
				e.pre.store(i, j, xs)
			}
			if e.act != kernels.NoActivation {
				vec.Activate(xs, xs, e.act)
			}
			if e.gradOf.base != nil {
				vec.ActivateGrad(xs, xs, unsafe.Slice(e.gradOf.f32(r.grad, i, j, n), n), e.actGrad)
			}
		}
		scale := float32(1)
		if e.rowScale.base != nil {
			scale = *e.rowScale.f32(r.out, 0, i, 1)
		}
		residual := e.residual.f32(r.residual, i, j, n)
		if e.out.bf16 {
			to := x
			if e.accumulate {
				to = e.out.f32(r.out, i, j, n)
			}
			kn.finish(to, x, b, residual, gamma, scale, n, e.accumulate)
			e.out.store(i, j, unsafe.Slice(to, n))
		} else {
			kn.finish((*float32)(e.out.at(i, j)), x, b, residual, gamma, scale, n, e.accumulate)
		}
	}
}

// store writes x to row i from column j on.
func (m *matrix) store(i, j int, x []float32) {
	if m.bf16 {
		vec.Narrow(unsafe.Slice((*uint16)(m.at(i, j)), len(x)), x)
	} else {
		copy(unsafe.Slice((*float32)(m.at(i, j)), len(x)), x)
	}
}

func widenRow(dst *float32, src unsafe.Pointer, n int) {
	vec.Widen(unsafe.Slice(dst, n), unsafe.Slice((*uint16)(src), n))
}
