package cuda

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Tile sizes of gemm.cu, version 2.
const (
	gemmTile   = 128
	gemmShared = 64 << 10
)

// Gemm is the matrix product with its epilogues.
func (b *Backend) Gemm(g kernels.Gemm) {
	kernels.CheckGemm(g)
	mustDevice(g.A.DType())
	mustDevice(g.Out.DType())
	if g.M == 0 || g.N == 0 {
		return
	}
	if b.fitsTensorCores(&g) && b.versions.Gemm != 1 {
		b.gemmV2(&g)
		return
	}
	name, _ := form("gemm_v1", false, g.A)
	if g.Out.DType() != g.A.DType() {
		name += "_f32"
	}
	b.gemmArgs(&g, nil, g.K)
	b.run("gemm", name, [3]int{(g.N + 15) / 16, (g.M + 15) / 16, 1}, [3]int{16, 16, 1}, 0)
}

// fitsTensorCores reports whether version 2 can read the operands: bf16, rows and first columns on 16-byte
// boundaries.
func (b *Backend) fitsTensorCores(g *kernels.Gemm) bool {
	_, lda := kernels.Matrix(g.A)
	_, ldb := kernels.Matrix(g.B)
	return g.A.DType() == tensor.BF16 && lda%8 == 0 && ldb%8 == 0 && g.ACol%8 == 0 && g.BCol%8 == 0 && g.A.Addr()%16 == 0 && g.B.Addr()%16 == 0
}

// wideOutput reports whether the epilogue can work on four neighbouring columns at a time.
func wideOutput(g *kernels.Gemm) bool {
	_, ldo := kernels.Matrix(g.Out)
	if g.N%4 != 0 || g.OutCol%4 != 0 {
		return false
	}
	return vec(ldo, g.Out, g.Pre, g.GradOf, g.Residual, g.Bias, g.Gamma)
}

// splits is the number of parts K is cut into: enough blocks to occupy the device when the output has few
// tiles. It depends on the shape only.
func splits(m, n, k int) int {
	tiles := ((m + gemmTile - 1) / gemmTile) * ((n + gemmTile - 1) / gemmTile)
	s := min(264/tiles, k/1024)
	return max(s, 1)
}

func (b *Backend) gemmV2(g *kernels.Gemm) {
	n := splits(g.M, g.N, g.K)
	part := (g.K + n - 1) / n
	part = (part + 31) &^ 31
	n = max((g.K+part-1)/max(part, 1), 1)
	var partial *tensor.Tensor
	if n > 1 {
		partial = b.scratch.floats(n * g.M * g.N)
	}
	name := "gemm_v2_" + letter(g.TransA) + letter(g.TransB) + "_bf16"
	if g.Out.DType() == tensor.F32 {
		name += "_f32"
	}
	b.gemmArgs(g, partial, max(part, 32))
	grid := [3]int{(g.N + gemmTile - 1) / gemmTile, (g.M + gemmTile - 1) / gemmTile, n}
	b.run("gemm", name, grid, [3]int{128, 1, 1}, gemmShared)
	if partial != nil {
		b.gemmArgs(g, partial, part)
		b.args.i32(n)
		name, _ = form("gemm_finish", false, g.Out)
		b.each("gemm", name, g.M*g.N, 1)
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
	plain := func(t *tensor.Tensor) uint64 { return col(t) &^ 1 }
	a := b.args.reset()
	a.u64(g.A.Addr() + uint64(g.ACol*g.A.DType().Size())).u64(g.B.Addr() + uint64(g.BCol*g.B.DType().Size())).u64(plain(g.Out))
	a.u64(col(g.Pre)).u64(col(g.GradOf)).u64(plain(g.Residual)).any(g.Bias).any(g.Gamma).any(g.RowScale).ptr(partial)
	a.i32(g.M, g.N, g.K, lda, ldb, ldo).bool(g.TransA).bool(g.TransB).i32(int(g.Act), int(g.ActGrad)).bool(g.Accumulate).i32(part).f32(alpha).bool(wideOutput(g))
}
