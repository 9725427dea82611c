package cuda

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/tensor"
)

// planV4 plans g for version 4 and reports whether that can do it, given that version 3 can multiply it. Parts of
// K are stored as they are, so that the output matters only where K is not cut.
func (b *Backend) planV4(g *kernels.Gemm) (p GemmPlan, fits bool) {
	if g.N%8 != 0 {
		return p, false
	}
	p = PlanGemmV4(epilogueOf(g), g.M, g.N, g.K, b.info.SMs)
	return p, p.Splits > 1 || storableV4(g)
}

// storableV4 reports whether version 4 can store the output of g: the matrices of the epilogue must be what a
// tensor map of bf16 describes, and vectors over n, as those of a model are, f32 that is read in pairs.
func storableV4(g *kernels.Gemm) bool {
	_, ldo := kernels.Matrix(g.Out)
	if ldo%8 != 0 || g.OutCol%8 != 0 {
		return false
	}
	for _, t := range []*tensor.Tensor{g.Out, g.Pre, g.GradOf, g.Residual} {
		if t != nil && (t.DType() != tensor.BF16 || t.Addr()%16 != 0) {
			return false
		}
	}
	for _, t := range []*tensor.Tensor{g.Bias, g.Gamma} {
		if t != nil && (t.DType() != tensor.F32 || t.Addr()%8 != 0) {
			return false
		}
	}
	return true
}

// noTensorMap stands for a matrix that a kernel does not touch.
var noTensorMap [128]byte

// epilogueOf is what the plan of version 4 must know of the epilogue of g.
func epilogueOf(g *kernels.Gemm) GemmEpilogue {
	e := GemmEpilogue{Pre: g.Pre != nil}
	for _, read := range []bool{g.GradOf != nil, g.Residual != nil, g.Accumulate} {
		if read {
			e.Reads++
		}
	}
	linear := g.Gamma != nil || g.RowScale != nil || g.Residual != nil
	switch {
	case g.Act == kernels.GELU && e.Reads == 0 && !linear:
		e.Kind = GELUEpilogue
	case g.Act != kernels.NoActivation || e.Pre:
		e.Kind = AnyEpilogue
	case g.GradOf != nil && g.ActGrad == kernels.GELU && !linear:
		e.Kind = GELUGradEpilogue
	case g.GradOf != nil:
		e.Kind = AnyEpilogue
	case linear || g.Accumulate:
		e.Kind = LinearEpilogue
	case g.Bias != nil:
		e.Kind = PlainEpilogue
	}
	return e
}

func (b *Backend) gemmV4(g *kernels.Gemm, p GemmPlan) {
	partial := b.partial(g, p.Splits)
	b.args.reset()
	b.operandMaps(g, p.TileN)
	// A warp stores, and reads, 16 rows of 64 columns at a time.
	_, ldo := kernels.Matrix(g.Out)
	for _, t := range []*tensor.Tensor{g.Out, g.Pre, g.GradOf, g.Residual} {
		if t == nil || partial != nil {
			b.args.bytes(64, noTensorMap[:])
			continue
		}
		b.tensorMap(gpu.TensorMap{
			Addr: t.Addr() + uint64(2*g.OutCol), ElemBytes: 2, Cols: g.N, Rows: g.M, RowBytes: 2 * ldo,
			BoxCols: 64, BoxRows: 16, Swizzle: 128,
		})
	}
	b.gemmArgs(g, partial, p.Part)
	grid, block := [3]int{min(p.Items, b.info.SMs), 1, 1}, [3]int{384, 1, 1}
	b.run("gemm_v4_sm90", fmt.Sprintf("gemm_v4_%d", p.TileN), grid, block, v4Shared(p.TileN))
	b.gemmFinish(g, partial, p)
}
