package loss

import (
	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/tensor"
)

const (
	koLeoEps = 1e-8
	// koLeoMinDist is the distance below which two rows count as duplicates: they have no direction to be pushed
	// apart in, and their logarithm would be all there is to the loss.
	koLeoMinDist = 1e-6
)

// KoLeo is the Kozachenko-Leonenko regulariser, which spreads the CLS tokens of each global crop: for every global crop
// of the step, the mean over images of -log(‖x_i - x_nn(i)‖ + eps), with x the L2-normalised tokens and nn(i) the
// nearest other image of the whole batch. The weight is 0.1 in DINOv2 and DINOv3.
type KoLeo struct{ Weight optim.Schedule }

type koLeo struct {
	KoLeo
	Stateless
	env   Env
	views []autograd.RowMap // of each global crop: its rows among the student's CLS tokens of a micro-batch
	// all and gradient are the normalised tokens of the step and their gradient, [Globals·Total, D], in steps whose
	// images do not meet in one backward pass; nil where they do.
	all, gradient *tensor.Tensor
	prepared      bool // gradient is that of this step
}

// New makes the term.
func (k KoLeo) New(e Env) (Term, error) {
	t := &koLeo{KoLeo: k, env: e}
	crops := e.Globals + e.Locals
	for v := range e.Globals {
		index := make([]int32, e.Images)
		for i := range index {
			index[i] = int32(i*crops + v)
		}
		m, err := autograd.NewRowMap(e.Backend, index, e.Images*crops)
		if err != nil {
			return nil, err
		}
		t.views = append(t.views, m)
	}
	if e.Images == e.Total {
		return t, nil
	}
	for _, dst := range []**tensor.Tensor{&t.all, &t.gradient} {
		x, err := tensor.New(e.Backend.Allocator(), e.DType, e.Globals*e.Total, e.Dim)
		if err != nil {
			return nil, err
		}
		*dst = x
	}
	return t, nil
}

func (k *koLeo) Parts() []Part { return []Part{{"koleo", "KoLeo loss"}} }

func (k *koLeo) Reads() Reads { return Reads{Student: CLS, WholeBatch: true} }

// Prepare finds the gradient of all tokens of the step, where they come in several micro-batches.
func (k *koLeo) Prepare(b *Batch) {
	k.prepared = b.StudentCLS != nil
	if !k.prepared {
		return
	}
	t, n := b.Tape, b.Place.Images
	y := t.A.New(t.DType, n, k.env.Dim)
	norm := t.A.New(t.StatType(), n)
	rows := t.A.New(t.DType, n, k.env.Dim)
	k.env.Backend.Fill(k.all, 0)
	for v := range k.env.Globals {
		// The tokens of one global crop, of rows that lie image by image.
		index := t.A.New(tensor.I32, n)
		host := make([]int32, n)
		for i := range host {
			host[i] = int32(i*k.env.Globals + v)
		}
		t.B.Upload(index, tensor.FromI32(host, n))
		t.B.GatherRows(rows, b.StudentCLS, index, false)
		t.B.L2Normalize(y, norm, rows, koLeoEps)
		t.B.Copy(k.rows(k.all, v, b.Place), y)
		t.A.Free(index)
	}
	t.A.Free(rows)
	t.A.Free(norm)
	t.A.Free(y)
}

// rows is the part of a [Globals·Total, D] matrix that belongs to global crop v of some images.
func (k *koLeo) rows(x *tensor.Tensor, v int, p Place) *tensor.Tensor {
	lo := v*p.Total + p.First
	return x.Rows(lo, lo+p.Images)
}

// spread writes the gradient dy of the normalised rows y [n, D] and the loss of each row.
func (k *koLeo) spread(t *autograd.Tape, dy, loss, y *tensor.Tensor, weight float64) {
	n := y.Dim(0)
	dots := t.A.New(t.DType, n, n)
	index := t.A.New(tensor.I32, n)
	t.B.Gemm(kernels.Gemm{M: n, N: n, K: y.Dim(1), Out: dots, A: y, B: y, TransB: true})
	t.B.NearestRows(index, dots)
	t.B.KoLeo(loss, dy, y, index, koLeoEps, koLeoMinDist, weight/float64(n))
	t.A.Free(index)
	t.A.Free(dots)
}

func (k *koLeo) Backward(in *Inputs) {
	if in.Place.Total < 2 {
		return // a single image has no neighbour
	}
	t, weight := in.Tape, k.Weight.At(in.Step.Index)
	if k.all == nil {
		k.together(in, weight)
		return
	}
	ys := make([]*autograd.Var, k.env.Globals)
	xs := make([]*autograd.Var, k.env.Globals)
	for v := range ys {
		xs[v] = t.Gather(in.CLS, k.views[v])
		ys[v] = t.L2Normalize(xs[v], koLeoEps)
	}
	if !k.prepared {
		// This process's images have all come, other processes have the rest.
		t.B.Fill(k.all, 0)
		for v, y := range ys {
			t.B.Copy(k.rows(k.all, v, in.Place), y.Value)
		}
	}
	if in.First {
		k.exchange(in, weight)
	}
	for v, y := range ys {
		dy, _ := t.GradBuffer(y) // nothing else reads y
		t.B.Copy(dy, k.rows(k.gradient, v, in.Place))
		t.Release(y)
		t.Release(xs[v])
	}
}

// exchange completes all with the rows of other processes, forms the gradient of every row, and adds the loss of this
// process's rows.
func (k *koLeo) exchange(in *Inputs, weight float64) {
	t, total := in.Tape, in.Place.Total
	k.env.reduce("koleo rows", k.all)
	loss := t.A.New(k.env.Stat, total)
	own := Place{in.Place.First, k.env.Local, total}
	for v := range k.env.Globals {
		x := k.all.Rows(v*total, (v+1)*total)
		k.spread(t, k.gradient.Rows(v*total, (v+1)*total), loss, x, weight)
		t.B.Sum(in.Loss, loss.Rows(own.First, own.First+own.Images), 1, true)
	}
	t.A.Free(loss)
}

// together is Backward where all images of the step are in one micro-batch.
func (k *koLeo) together(in *Inputs, weight float64) {
	t := in.Tape
	loss := t.A.New(k.env.Stat, in.Place.Images)
	for v := range k.env.Globals {
		x := t.Gather(in.CLS, k.views[v])
		y := t.L2Normalize(x, koLeoEps)
		dy, _ := t.GradBuffer(y) // nothing else reads y
		k.spread(t, dy, loss, y.Value, weight)
		t.B.Sum(in.Loss, loss, 1, true)
		t.Release(y)
		t.Release(x)
	}
	t.A.Free(loss)
}

// Cost counts the tokens of every global crop, raw and normalised, one gradient and the products of all pairs. The
// products are few beside those of the networks, and not counted as FLOPs.
func (k KoLeo) Cost(e *Env, _ int) Cost {
	n, size, stat := e.Total, e.DType.Size(), e.Stat.Size()
	rows := e.Images * e.Dim * size
	return Cost{Bytes: 2*e.Globals*rows + rows + n*n*size + n*(4+2*stat)}
}
