package kernels

import "github.com/dino-mx/dmx/tensor"

// CheckLayerNorm checks LayerNorm: y like x [R,D]; mean and rstd statistics [R]; gamma and beta parameters [D].
func CheckLayerNorm(y, mean, rstd, x, gamma, beta *tensor.Tensor) {
	const op = "LayerNorm"
	mustWork(op, "x", x)
	rows, cols := Matrix(x)
	mustLike(op, "y", y, "x", x)
	mustStat(op, "mean", mean, rows, "x", x)
	mustStat(op, "rstd", rstd, rows, "x", x)
	mustParam(op, "gamma", gamma, cols, "x", x)
	mustParam(op, "beta", beta, cols, "x", x)
}

// CheckLayerNormBackward checks LayerNormBackward: dx and dy like x; dgamma and dbeta both nil or both there.
func CheckLayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma *tensor.Tensor) {
	const op = "LayerNormBackward"
	mustWork(op, "x", x)
	rows, cols := Matrix(x)
	mustLike(op, "dx", dx, "x", x)
	mustLike(op, "dy", dy, "x", x)
	mustStat(op, "mean", mean, rows, "x", x)
	mustStat(op, "rstd", rstd, rows, "x", x)
	mustParam(op, "gamma", gamma, cols, "x", x)
	if dgamma != nil || dbeta != nil {
		mustParam(op, "dgamma", dgamma, cols, "x", x)
		mustParam(op, "dbeta", dbeta, cols, "x", x)
	}
}

// CheckL2Normalize checks L2Normalize: y like x [R,D], norm a statistic [R].
func CheckL2Normalize(y, norm, x *tensor.Tensor) {
	const op = "L2Normalize"
	mustWork(op, "x", x)
	rows, _ := Matrix(x)
	mustLike(op, "y", y, "x", x)
	mustStat(op, "norm", norm, rows, "x", x)
}

// CheckL2NormalizeBackward checks L2NormalizeBackward: dx and dy like y, norm a statistic [R].
func CheckL2NormalizeBackward(dx, dy, y, norm *tensor.Tensor) {
	const op = "L2NormalizeBackward"
	mustWork(op, "y", y)
	rows, _ := Matrix(y)
	mustLike(op, "dx", dx, "y", y)
	mustLike(op, "dy", dy, "y", y)
	mustStat(op, "norm", norm, rows, "y", y)
}

// CheckWeightNorm checks WeightNorm: w [R,D] of any working type, v [R,D] of that type or f32, norm a statistic
// [R], gain nil or a parameter [R].
func CheckWeightNorm(w, norm, v, gain *tensor.Tensor) {
	const op = "WeightNorm"
	mustWork(op, "w", w)
	rows, cols := Matrix(w)
	mustParamType(op, "v", v, "w", w)
	mustMatrix(op, "v", v, rows, cols, "w", w)
	mustStat(op, "norm", norm, rows, "w", w)
	if gain != nil {
		mustParam(op, "gain", gain, rows, "w", w)
	}
}

// CheckWeightNormBackward checks WeightNormBackward: dw [R,D] of any working type; v, dv [R,D] and gain, dgain [R]
// of that type or f32; norm a statistic. gain and dgain may be nil.
func CheckWeightNormBackward(dv, dgain, dw, v, gain, norm *tensor.Tensor) {
	const op = "WeightNormBackward"
	mustWork(op, "dw", dw)
	rows, cols := Matrix(dw)
	mustParamType(op, "dv", dv, "dw", dw)
	mustMatrix(op, "dv", dv, rows, cols, "dw", dw)
	mustParamType(op, "v", v, "dw", dw)
	mustMatrix(op, "v", v, rows, cols, "dw", dw)
	mustStat(op, "norm", norm, rows, "dw", dw)
	if gain != nil {
		mustParam(op, "gain", gain, rows, "dw", dw)
	}
	if dgain != nil {
		mustParam(op, "dgain", dgain, rows, "dw", dw)
	}
}
