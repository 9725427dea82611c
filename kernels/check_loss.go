package kernels

import "github.com/dino-mx/dmx/tensor"

// Tiny is the smallest normal f32, 2⁻¹²⁶: the floor under the logarithm of SinkhornCentre.
const Tiny = 0x1p-126

// CheckRowLogSumExp checks RowLogSumExp: x [R,K], lse a statistic [R], centre nil or a statistic [K].
func CheckRowLogSumExp(lse, x, centre *tensor.Tensor) {
	checkLogits("RowLogSumExp", x, centre, lse)
}

// CheckColSumExp checks ColSumExp: x [R,K]; out and centre (or nil) statistics [K], lse [R].
func CheckColSumExp(out, x, centre, lse *tensor.Tensor) {
	checkLogits("ColSumExp", x, centre, lse)
	_, cols := Matrix(x)
	mustStat("ColSumExp", "out", out, cols, "x", x)
}

// CheckSoftmaxRows checks SoftmaxRows: p like x [R,K]; centre (or nil) a statistic [K], lse [R].
func CheckSoftmaxRows(p, x, centre, lse *tensor.Tensor) {
	checkLogits("SoftmaxRows", x, centre, lse)
	mustLike("SoftmaxRows", "p", p, "x", x)
}

func checkLogits(op string, x, centre, lse *tensor.Tensor) {
	mustWork(op, "x", x)
	rows, cols := Matrix(x)
	mustStat(op, "lse", lse, rows, "x", x)
	if centre != nil {
		mustStat(op, "centre", centre, cols, "x", x)
	}
}

// CheckSinkhornCentre checks SinkhornCentre: two statistics of one length.
func CheckSinkhornCentre(centre, colsum *tensor.Tensor) {
	mustWork("SinkhornCentre", "centre", centre)
	mustStat("SinkhornCentre", "centre", centre, centre.Len(), "centre", centre)
	mustStat("SinkhornCentre", "colsum", colsum, centre.Len(), "centre", centre)
}

// CheckCrossEntropy checks CrossEntropy: S [R,K] and T [Q,K] of one type, DS nil or like S, the statistics SLSE [R],
// TLSE [Q], Centre [K] (or nil), Loss and Weights [pairs], and the tables Starts [R+1] and Rows [pairs].
func CheckCrossEntropy(c CrossEntropy) {
	const op = "CrossEntropy"
	mustWork(op, "S", c.S)
	rows, cols := Matrix(c.S)
	mustType(op, "T", c.T, "S", c.S)
	q, _ := Matrix(c.T)
	mustMatrix(op, "T", c.T, q, cols, "S", c.S)
	mustStat(op, "SLSE", c.SLSE, rows, "S", c.S)
	mustStat(op, "TLSE", c.TLSE, q, "T", c.T)
	if c.Centre != nil {
		mustStat(op, "Centre", c.Centre, cols, "T", c.T)
	}
	if c.DS != nil {
		mustLike(op, "DS", c.DS, "S", c.S)
	}
	mustIndex(op, "Starts", c.Starts, rows+1, "S", c.S)
	if c.Rows == nil {
		isNil(op, "Rows")
	}
	pairs := c.Rows.Len()
	mustIndex(op, "Rows", c.Rows, pairs, "T", c.T)
	mustStat(op, "Weights", c.Weights, pairs, "Rows", c.S)
	mustStat(op, "Loss", c.Loss, pairs, "Rows", c.S)
}

// CheckEntropy checks Entropy: out one statistic.
func CheckEntropy(out, x *tensor.Tensor) {
	mustWork("Entropy", "x", x)
	mustStat("Entropy", "out", out, 1, "x", x)
}

// CheckNearestRows checks NearestRows: dots [n,n], index i32 [n].
func CheckNearestRows(index, dots *tensor.Tensor) {
	mustWork("NearestRows", "dots", dots)
	n, _ := Matrix(dots)
	mustMatrix("NearestRows", "dots", dots, n, n, "dots", dots)
	mustIndex("NearestRows", "index", index, n, "dots", dots)
}

// CheckKoLeo checks KoLeo: x and dx [n,d] of one type, loss a statistic [n], index i32 [n].
func CheckKoLeo(loss, dx, x, index *tensor.Tensor) {
	mustWork("KoLeo", "x", x)
	n, _ := Matrix(x)
	mustLike("KoLeo", "dx", dx, "x", x)
	mustStat("KoLeo", "loss", loss, n, "x", x)
	mustIndex("KoLeo", "index", index, n, "x", x)
}

// CheckMSE checks MSE: a, b and da of one type and length, loss one statistic.
func CheckMSE(loss, da, a, b *tensor.Tensor) {
	mustWork("MSE", "a", a)
	mustType("MSE", "b", b, "a", a)
	mustLen("MSE", "b", b, a.Len(), "a", a)
	mustType("MSE", "da", da, "a", a)
	mustLen("MSE", "da", da, a.Len(), "a", a)
	mustStat("MSE", "loss", loss, 1, "a", a)
}

// CheckSum checks Sum: out one statistic.
func CheckSum(out, x *tensor.Tensor) {
	mustWork("Sum", "x", x)
	mustStat("Sum", "out", out, 1, "x", x)
}

// CheckColMoments checks ColMoments: mean and variance statistics [K] for x [R,K].
func CheckColMoments(mean, variance, x *tensor.Tensor) {
	mustWork("ColMoments", "x", x)
	_, cols := Matrix(x)
	mustStat("ColMoments", "mean", mean, cols, "x", x)
	mustStat("ColMoments", "variance", variance, cols, "x", x)
}
