package kernels

import (
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// CheckGemm checks Gemm. A and B have one working type; Out has that type or f32. Pre, GradOf and Residual are
// matrices as wide as Out and are read and written at the columns of Out (from OutCol on); Residual has Out's
// type, Pre and GradOf Out's type or that of A. Bias, Gamma and RowScale are parameters.
func CheckGemm(g Gemm) {
	const op = "Gemm"
	mustWork(op, "A", g.A)
	mustType(op, "B", g.B, "A", g.A)
	mustParamType(op, "Out", g.Out, "A", g.A)
	if g.M < 0 || g.N < 0 || g.K < 0 {
		panic(fmt.Sprintf("kernels: Gemm: M %d, N %d, K %d for A %s and B %s", g.M, g.N, g.K, describe(g.A), describe(g.B)))
	}
	if g.TransA {
		mustColumns(op, "A", g.A, g.K, g.ACol, g.M, &g)
	} else {
		mustColumns(op, "A", g.A, g.M, g.ACol, g.K, &g)
	}
	if g.TransB {
		mustColumns(op, "B", g.B, g.N, g.BCol, g.K, &g)
	} else {
		mustColumns(op, "B", g.B, g.K, g.BCol, g.N, &g)
	}
	mustColumns(op, "Out", g.Out, g.M, g.OutCol, g.N, &g)
	rows, cols := Matrix(g.Out)
	if g.Pre != nil {
		mustEither(op, "Pre", g.Pre, g.Out, g.A)
		mustMatrix(op, "Pre", g.Pre, rows, cols, "Out", g.Out)
	}
	if g.GradOf != nil {
		mustEither(op, "GradOf", g.GradOf, g.Out, g.A)
		mustMatrix(op, "GradOf", g.GradOf, rows, cols, "Out", g.Out)
	}
	if g.Residual != nil {
		mustLike(op, "Residual", g.Residual, "Out", g.Out)
	}
	if g.Bias != nil {
		mustParam(op, "Bias", g.Bias, g.N, "Out", g.Out)
	}
	if g.Gamma != nil {
		mustParam(op, "Gamma", g.Gamma, g.N, "Out", g.Out)
	}
	if g.RowScale != nil {
		mustParam(op, "RowScale", g.RowScale, g.M, "Out", g.Out)
	}
	mustActivation(op, g.Act, g.Out)
	mustActivation(op, g.ActGrad, g.Out)
}

// mustColumns wants a matrix of the given rows in which columns col to col+n exist.
func mustColumns(op, name string, t *tensor.Tensor, rows, col, n int, g *Gemm) {
	if r, c := Matrix(t); r != rows || col < 0 || col+n > c {
		panic(fmt.Sprintf("kernels: %s: %s %s has no [%d, %d:%d] (M %d, N %d, K %d; A %s, B %s, Out %s)",
			op, name, describe(t), rows, col, col+n, g.M, g.N, g.K, describe(g.A), describe(g.B), describe(g.Out)))
	}
}

func mustEither(op, name string, t, out, a *tensor.Tensor) {
	if d := t.DType(); d != out.DType() && d != a.DType() {
		panic(fmt.Sprintf("kernels: %s: %s %s has neither the type of Out %s nor of A %s", op, name, describe(t), describe(out), describe(a)))
	}
}

// CheckColSum checks ColSum: out [cols] a parameter.
func CheckColSum(out, x *tensor.Tensor) {
	mustWork("ColSum", "x", x)
	_, cols := Matrix(x)
	mustParam("ColSum", "out", out, cols, "x", x)
}

// CheckLayerScaleBackward checks LayerScaleBackward: g and w [N,K]; c, b, gamma, dgamma, db [N]; dw [N,K].
// g, c and the d… may be f32 beside a bf16 w. b, db and dw may be nil, and c where b and db are.
func CheckLayerScaleBackward(dw, db, dgamma, g, c, w, b, gamma *tensor.Tensor) {
	const op = "LayerScaleBackward"
	mustWork(op, "w", w)
	rows, cols := Matrix(w)
	mustParamType(op, "g", g, "w", w)
	mustMatrix(op, "g", g, rows, cols, "w", w)
	if b != nil || db != nil || c != nil {
		mustParam(op, "c", c, rows, "w", w)
	}
	mustParam(op, "gamma", gamma, rows, "w", w)
	mustParam(op, "dgamma", dgamma, rows, "w", w)
	if b != nil {
		mustParam(op, "b", b, rows, "w", w)
	}
	if db != nil {
		mustParam(op, "db", db, rows, "w", w)
	}
	if dw != nil {
		mustParamType(op, "dw", dw, "w", w)
		mustMatrix(op, "dw", dw, rows, cols, "w", w)
	}
}
