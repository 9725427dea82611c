package cuda

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/tensor"
)

// Gemm is the matrix product with its epilogues.
func (b *Backend) Gemm(g kernels.Gemm) {
	kernels.CheckGemm(g)
	mustDevice(g.A.DType())
	mustDevice(g.Out.DType())
	if g.M == 0 || g.N == 0 {
		return
	}
	version, p := b.gemmVersion(&g)
	switch version {
	case 4:
		b.gemmV4(&g, p)
	case 3:
		b.gemmV3(&g)
	case 2:
		b.gemmV2(&g)
	default:
		name, _ := form("gemm_v1", false, g.A)
		b.args.reset()
		b.gemmArgs(&g, nil, g.K)
		b.run("gemm", name, [3]int{(g.N + 15) / 16, (g.M + 15) / 16, 1}, [3]int{16, 16, 1}, 0)
	}
}

// gemmVersion is the fastest version that fits, no later than the one asked for. The tensor cores want bf16, and rows
// and first columns on 16-byte boundaries, for the copies of version 2 and the tensor maps of later ones alike.
// The plan is that of version 4.
func (b *Backend) gemmVersion(g *kernels.Gemm) (version int, p GemmPlan) {
	want := b.versions.Gemm
	_, lda := kernels.Matrix(g.A)
	_, ldb := kernels.Matrix(g.B)
	fits := g.A.DType() == tensor.BF16 && lda%8 == 0 && ldb%8 == 0 && g.ACol%8 == 0 && g.BCol%8 == 0 && g.A.Addr()%16 == 0 && g.B.Addr()%16 == 0
	switch {
	case want == 1 || !fits:
		return 1, p
	case want == 2 || b.info.Major != 9 || b.info.Minor != 0 || g.K == 0: // a tensor map has no empty dimension
		return 2, p
	case want == 3:
		return 3, p
	}
	if p, fits = b.planV4(g); !fits {
		return 3, p
	}
	return 4, p
}

// wideOutput reports whether the epilogue can work on four neighbouring columns at a time.
func wideOutput(g *kernels.Gemm) bool {
	_, ldo := kernels.Matrix(g.Out)
	if g.N%4 != 0 || g.OutCol%4 != 0 {
		return false
	}
	return vec(ldo, g.Out, g.Pre, g.GradOf, g.Residual, g.Bias, g.Gamma)
}

func (b *Backend) gemmV2(g *kernels.Gemm) {
	p := planV2(g.M, g.N, g.K, b.info.SMs)
	partial := b.partial(g, p.Splits)
	b.args.reset()
	b.gemmArgs(g, partial, p.Part)
	grid := [3]int{ceil(g.N, v2Tile), ceil(g.M, v2Tile), p.Splits}
	b.run("gemm", "gemm_v2_"+letter(g.TransA)+letter(g.TransB), grid, [3]int{128, 1, 1}, v2Shared)
	b.gemmFinish(g, partial, p)
}

func (b *Backend) gemmV3(g *kernels.Gemm) {
	p := PlanGemmV3(g.M, g.N, g.K, b.info.SMs)
	partial := b.partial(g, p.Splits)
	b.args.reset()
	b.operandMaps(g, p.TileN)
	b.gemmArgs(g, partial, p.Part)
	name := "gemm_v3_256"
	if p.TileN == 128 {
		name = "gemm_v3_128"
	}
	b.run("gemm_sm90", name, [3]int{min(p.Items, b.info.SMs), 1, 1}, [3]int{384, 1, 1}, v3Shared(p.TileN))
	b.gemmFinish(g, partial, p)
}

// operandMaps packs the tensor maps of A and B. A box is 128 bytes wide. Where k is contiguous it holds the whole tile,
// else 64 rows (of k) of 64 columns.
func (b *Backend) operandMaps(g *kernels.Gemm, tileN int) {
	box := func(t *tensor.Tensor, col, rows, cols, tile int, kInner bool) {
		_, ld := kernels.Matrix(t)
		m := gpu.TensorMap{Addr: t.Addr() + uint64(2*col), ElemBytes: 2, Cols: cols, Rows: rows, RowBytes: 2 * ld, BoxCols: 64, BoxRows: 64, Swizzle: 128}
		if kInner {
			m.BoxRows = tile
		}
		b.tensorMap(m)
	}
	if g.TransA {
		box(g.A, g.ACol, g.K, g.M, v3TileM, false)
	} else {
		box(g.A, g.ACol, g.M, g.K, v3TileM, true)
	}
	if g.TransB {
		box(g.B, g.BCol, g.N, g.K, tileN, true)
	} else {
		box(g.B, g.BCol, g.K, g.N, tileN, false)
	}
}

// tensorMap packs a tensor map by value.
func (b *Backend) tensorMap(m gpu.TensorMap) {
	words, err := b.driver.TensorMap(m)
	b.queue.Fail(err)
	b.args.bytes(64, words[:])
}

// partial is memory for the parts of a product whose K is cut, nil where it is not.
func (b *Backend) partial(g *kernels.Gemm, splits int) *tensor.Tensor {
	if splits == 1 {
		return nil
	}
	return b.scratch.floats(splits * g.M * g.N)
}

// gemmFinish adds the parts up in order.
func (b *Backend) gemmFinish(g *kernels.Gemm, partial *tensor.Tensor, p GemmPlan) {
	if partial == nil {
		return
	}
	b.args.reset()
	b.gemmArgs(g, partial, p.Part)
	b.args.i32(p.Splits)
	if wideOutput(g) {
		b.each("gemm", "gemm_finishv", g.M*g.N, 4)
	} else {
		b.each("gemm", "gemm_finish", g.M*g.N, 1)
	}
}

func letter(trans bool) string {
	if trans {
		return "t"
	}
	return "n"
}

// gemmArgs packs struct Gemm of gemm.h.
func (b *Backend) gemmArgs(g *kernels.Gemm, partial *tensor.Tensor, part int) {
	_, lda := kernels.Matrix(g.A)
	_, ldb := kernels.Matrix(g.B)
	_, ldo := kernels.Matrix(g.Out)
	alpha := g.Alpha
	if alpha == 0 {
		alpha = 1
	}
	col := func(t *tensor.Tensor) uint64 {
		if t == nil {
			return 0
		}
		return anyAddr(t) + uint64(g.OutCol*t.DType().Size())
	}
	a := b.args.beginStruct(8)
	a.u64(g.A.Addr() + uint64(g.ACol*g.A.DType().Size())).u64(g.B.Addr() + uint64(g.BCol*g.B.DType().Size()))
	a.u64(col(g.Out)).u64(col(g.Pre)).u64(col(g.GradOf)).u64(col(g.Residual)).any(g.Bias).any(g.Gamma).any(g.RowScale).ptr(partial)
	a.i32(g.M, g.N, g.K, lda, ldb, ldo).bool(g.TransA).bool(g.TransB).i32(int(g.Act), int(g.ActGrad)).bool(g.Accumulate).i32(part).f32(alpha).bool(wideOutput(g))
	a.endStruct()
}
