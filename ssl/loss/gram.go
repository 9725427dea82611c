package loss

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/tensor"
)

// normalizeEps is the floor of row norms in cosine similarities.
const normalizeEps = 1e-12

// Gram anchors the similarities between patches to those of a snapshot of the teacher (DINOv3, section 5.4 of its
// paper): with X, Y [N, D] the L2-normalised patches of a global crop as student and snapshot see it, the mean over
// crops of mean((X·Xᵀ - Y·Yᵀ)²). It is 0 while there is no snapshot.
type Gram struct {
	Weight optim.Schedule
	// RemoveNegative sets negative similarities of both sides to 0.
	RemoveNegative bool
}

type gram struct {
	Gram
	Stateless
	env Env
}

// New makes the term.
func (g Gram) New(e Env) (Term, error) { return &gram{Gram: g, env: e}, nil }

func (g *gram) Parts() []Part { return []Part{{"gram", "Gram loss"}} }

func (g *gram) Reads() Reads { return Reads{Student: Patches, Snapshot: Patches} }

func (g *gram) Backward(in *Inputs) {
	if in.Snapshot == nil {
		return
	}
	t, student := in.Tape, in.Patches
	crops := g.env.Globals * in.Place.Images
	n, d := student.Dim(0)/crops, student.Dim(1)
	weight := g.Weight.At(in.Step.Index) / float64(g.env.Globals*in.Place.Total)
	loss := t.A.New(g.env.Stat, crops)
	x := t.L2Normalize(student, normalizeEps)
	y := t.A.New(t.DType, crops*n, d)
	norm := t.A.New(t.StatType(), crops*n)
	t.B.L2Normalize(y, norm, in.Snapshot, normalizeEps)
	dx, _ := t.GradBuffer(x)
	sx, sy := t.A.New(t.DType, n, n), t.A.New(t.DType, n, n)
	ds := t.A.New(t.DType, n, n)
	var kept *tensor.Tensor
	if g.RemoveNegative {
		kept = t.A.New(t.DType, n, n)
	}
	for i := range crops {
		xi, yi := x.Value.Rows(i*n, (i+1)*n), y.Rows(i*n, (i+1)*n)
		t.B.Gemm(kernels.Gemm{M: n, N: n, K: d, Out: sx, A: xi, B: xi, TransB: true})
		t.B.Gemm(kernels.Gemm{M: n, N: n, K: d, Out: sy, A: yi, B: yi, TransB: true})
		left := sx
		if g.RemoveNegative {
			t.B.ActForward(kept, sx, kernels.ReLU)
			t.B.ActForward(sy, sy, kernels.ReLU)
			left = kept
		}
		t.B.MSE(loss.Rows(i, i+1), ds, left, sy, weight)
		if g.RemoveNegative {
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
	t.B.Sum(in.Loss, loss, 1, true)
	t.A.Free(loss)
}

// Cost counts two matrices of similarities and the gradient of one for each crop; the arena holds both sides'
// normalised patches, the gradient, and three or four matrices.
func (g Gram) Cost(e *Env, _ int) Cost {
	crops, n, d := e.Globals*e.Images, e.Patches, e.Dim
	squares := 3
	if g.RemoveNegative {
		squares = 4
	}
	return Cost{
		FLOPs: int64(e.Globals*e.Local) * 3 * 2 * int64(n) * int64(n) * int64(d),
		Bytes: (3*crops*n*d+squares*n*n)*e.DType.Size() + (2*crops*n+crops)*e.Stat.Size(),
	}
}
