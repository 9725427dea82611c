package ssl

import (
	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

const (
	koLeoEps = 1e-8
	// koLeoMinDist is the distance below which two rows count as duplicates: they have no direction to be pushed
	// apart in, and their logarithm would be all there is to the loss.
	koLeoMinDist = 1e-6
)

// koLeo adds weight·mean_i(-log(‖x_i - x_nn(i)‖ + eps)) of the rows of x [B, D], L2-normalised first, to the
// gradient of x, and writes the loss of each row (it sums to the weighted mean) to loss [B].
func koLeo(t *autograd.Tape, x *autograd.Var, loss *tensor.Tensor, weight float64) {
	n := x.Dim(0)
	y := t.L2Normalize(x, koLeoEps)
	dots := t.A.New(t.DType, n, n)
	index := t.A.New(tensor.I32, n)
	t.B.Gemm(kernels.Gemm{M: n, N: n, K: y.Dim(1), Out: dots, A: y.Value, B: y.Value, TransB: true})
	t.B.NearestRows(index, dots)
	dy, _ := t.Into(y) // nobody else reads y
	t.B.KoLeo(loss, dy, y.Value, index, koLeoEps, koLeoMinDist, weight/float64(n))
	t.A.Free(index)
	t.A.Free(dots)
	t.Release(y)
}
