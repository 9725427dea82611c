package ssl

import (
	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// gramLoss is the mean squared difference between the patch similarities of student and anchor, crop by crop: with
// X, Y [N, D] the L2-normalised patches of a crop, weight·mean over crops of mean((X·Xᵀ - Y·Yᵀ)²).
//
// student [crops·N, D] gets its gradient; loss [crops] is written.
func gramLoss(t *autograd.Tape, student *autograd.Var, anchor, loss *tensor.Tensor, crops int, weight float64, removeNegative bool) {
	n, d := student.Dim(0)/crops, student.Dim(1)
	x := t.L2Normalize(student, normalizeEps)
	y := t.A.New(t.DType, crops*n, d)
	norm := t.A.New(t.StatType(), crops*n)
	t.B.L2Normalize(y, norm, anchor, normalizeEps)
	dx, _ := t.Into(x)
	sx, sy := t.A.New(t.DType, n, n), t.A.New(t.DType, n, n)
	ds := t.A.New(t.DType, n, n)
	var kept *tensor.Tensor
	if removeNegative {
		kept = t.A.New(t.DType, n, n)
	}
	for i := range crops {
		xi, yi := x.Value.Rows(i*n, (i+1)*n), y.Rows(i*n, (i+1)*n)
		t.B.Gemm(kernels.Gemm{M: n, N: n, K: d, Out: sx, A: xi, B: xi, TransB: true})
		t.B.Gemm(kernels.Gemm{M: n, N: n, K: d, Out: sy, A: yi, B: yi, TransB: true})
		left := sx
		if removeNegative {
			t.B.ActForward(kept, sx, kernels.ReLU)
			t.B.ActForward(sy, sy, kernels.ReLU)
			left = kept
		}
		t.B.MSE(loss.Rows(i, i+1), ds, left, sy, weight/float64(crops))
		if removeNegative {
			t.B.ActBackward(ds, ds, sx, kernels.ReLU)
		}
		// The similarity matrix is symmetric and so is its gradient: both factors give the same share.
		t.B.Gemm(kernels.Gemm{M: n, N: d, K: n, Out: dx.Rows(i*n, (i+1)*n), A: ds, B: xi, Alpha: 2})
	}
	if kept != nil {
		t.A.Free(kept)
	}
	t.A.Free(ds)
	t.A.Free(sy)
	t.A.Free(sx)
	t.A.Free(norm)
	t.A.Free(y)
	t.Release(x)
}

// normalizeEps is the floor of row norms in cosine similarities.
const normalizeEps = 1e-12
