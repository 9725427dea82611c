package vec

// Axpy is y += a·x.
func Axpy(y []float32, a float32, x []float32) { axpyGo(y, a, x) }

// Scale is dst = a·x; dst may be x.
func Scale(dst, x []float32, a float32) { scaleGo(dst, x, a) }

// MulScale is dst = x·a·col; dst may be x.
func MulScale(dst, x, col []float32, a float32) { mulScaleGo(dst, x, col, a) }

// Sum is Σ x.
func Sum(x []float32) float32 { return sumGo(x) }

// Dot is Σ x·y.
func Dot(x, y []float32) float32 { return dotGo(x, y) }

// SumSquares is Σ (x-mean)².
func SumSquares(x []float32, mean float32) float32 { return sumSquaresGo(x, mean) }

// SumSquaredDiff is Σ (x-y)².
func SumSquaredDiff(x, y []float32) float32 { return sumSquaredDiffGo(x, y) }

// Max is the largest element, -Inf of none.
func Max(x []float32) float32 { return maxGo(x) }

// MaxDiff is the largest x-c.
func MaxDiff(x, c []float32) float32 { return maxDiffGo(x, c) }

// Normalize is y = (x-mean)·rstd·gamma + beta; y may be x.
func Normalize(y, x, gamma, beta []float32, mean, rstd float32) {
	normalizeGo(y, x, gamma, beta, mean, rstd)
}

// LayerNormSums returns Σ dy·gamma and Σ dy·gamma·(x-mean)·rstd.
func LayerNormSums(dy, x, gamma []float32, mean, rstd float32) (g, gx float32) {
	return layerNormSumsGo(dy, x, gamma, mean, rstd)
}

// LayerNormParams is dgamma += dy·(x-mean)·rstd, dbeta += dy.
func LayerNormParams(dgamma, dbeta, dy, x []float32, mean, rstd float32) {
	layerNormParamsGo(dgamma, dbeta, dy, x, mean, rstd)
}

// LayerNormGrad is dx = rstd·(dy·gamma - a - (x-mean)·rstd·b), or += with add.
func LayerNormGrad(dx, dy, x, gamma []float32, mean, rstd, a, b float32, add bool) {
	layerNormGradGo(dx, dy, x, gamma, mean, rstd, a, b, add)
}

// ExpSum is dst = exp(x·a + b) and returns its sum; dst may be x.
func ExpSum(dst, x []float32, a, b float32) float32 { return expSumGo(dst, x, a, b) }

// SumExp is Σ exp((x-c)·a + b); c may be nil.
func SumExp(x, c []float32, a, b float32) float32 { return sumExpGo(x, c, a, b) }

// AddExp is acc += exp((x-c)·a + b); c may be nil.
func AddExp(acc, x, c []float32, a, b float32) { addExpGo(acc, x, c, a, b) }

// Exp is dst = exp((x-c)·a + b); c may be nil, dst may be x.
func Exp(dst, x, c []float32, a, b float32) { expGo(dst, x, c, a, b) }

// Cross adds w·p to acc for p = exp((t-c)·ta + tb) and returns Σ p·(s·sa + sb); c may be nil.
func Cross(acc, t, c, s []float32, ta, tb, sa, sb, w float32) float32 {
	return crossGo(acc, t, c, s, ta, tb, sa, sb, w)
}

// CrossGrad is ds = sa·(w·exp(s·sa + sb) - acc); ds may be s.
func CrossGrad(ds, s, acc []float32, sa, sb, w float32) { crossGradGo(ds, s, acc, sa, sb, w) }

// AdamW updates p, m and v from the gradient g and, where it is not nil, the teacher ema from the new p.
func AdamW(p, m, v, g, ema []float32, k *Adam) { adamWGo(p, m, v, g, ema, k) }

// Lerp is ema = a·ema + b·p.
func Lerp(ema, p []float32, a, b float32) { lerpGo(ema, p, a, b) }

// Widen turns bf16 bit patterns into float32.
func Widen(dst []float32, src []uint16) { widenGo(dst, src) }

// Narrow rounds to bf16, to nearest even; NaN stays NaN.
func Narrow(dst []uint16, src []float32) { narrowGo(dst, src) }

// Rotate turns the pairs (a,b) by the angles of cos and sin: a' = a·cos - b·sin·sign, b' = b·cos + a·sin·sign.
func Rotate(a, b, cos, sin []float32, sign float32) { rotateGo(a, b, cos, sin, sign) }
