package main

import (
	"fmt"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// operation is one call of the backend with what it must do at least.
type operation struct {
	name, shape string
	flops       int64 // on the tensor cores; 0 for operations that only move bytes
	bytes       int64 // every input read once, every output written once
}

// counted is a backend that announces every operation, with its counts, before it passes it on. It is neither a
// kernels.Batcher nor a kernels.AsyncUploader, so that a trainer submits every launch by itself.
type counted struct {
	inner    kernels.Backend
	announce func(operation)
}

var _ kernels.Backend = (*counted)(nil)

// shape writes the operands of an operation that is not a product.
func shape(t *tensor.Tensor) string { return fmt.Sprintf("%s%v", t.DType(), t.Shape()) }

// on announces an operation that moves the given tensors once.
func (c *counted) on(name string, x *tensor.Tensor, moved ...*tensor.Tensor) {
	c.announce(operation{name: name, shape: shape(x), bytes: kernels.Bytes(moved...)})
}

// again lists out twice where it is accumulated into, since it is then read as well.
func again(accumulate bool, out *tensor.Tensor) *tensor.Tensor {
	if accumulate {
		return out
	}
	return nil
}

func (c *counted) Name() string                { return c.inner.Name() }
func (c *counted) Allocator() tensor.Allocator { return c.inner.Allocator() }
func (c *counted) Sync() error                 { return c.inner.Sync() }

func (c *counted) Upload(dst, host *tensor.Tensor) {
	c.on("Upload", dst, dst)
	c.inner.Upload(dst, host)
}

func (c *counted) Download(host, src *tensor.Tensor) {
	c.on("Download", src, src)
	c.inner.Download(host, src)
}

func (c *counted) Fill(dst *tensor.Tensor, v float64) {
	c.on("Fill", dst, dst)
	c.inner.Fill(dst, v)
}

func (c *counted) Copy(dst, src *tensor.Tensor) {
	c.on("Copy", dst, dst, src)
	c.inner.Copy(dst, src)
}

func (c *counted) Axpy(y *tensor.Tensor, a float64, x *tensor.Tensor) {
	c.on("Axpy", y, y, y, x)
	c.inner.Axpy(y, a, x)
}

func (c *counted) Scale(x *tensor.Tensor, a float64) {
	c.on("Scale", x, x, x)
	c.inner.Scale(x, a)
}

func (c *counted) ScaleRowsCols(out, x, row, col *tensor.Tensor) {
	c.on("ScaleRowsCols", x, out, x, row, col)
	c.inner.ScaleRowsCols(out, x, row, col)
}

func (c *counted) Dropout(out, x *tensor.Tensor, p float64, seed uint64, offset uint32) {
	c.on("Dropout", x, out, x)
	c.inner.Dropout(out, x, p, seed, offset)
}

func (c *counted) Gemm(g kernels.Gemm) {
	what := fmt.Sprintf("%dx%dx%d %s%s to %s", g.M, g.N, g.K, letter(g.TransA), letter(g.TransB), g.Out.DType())
	for _, x := range []struct {
		name string
		set  bool
	}{
		{"accumulated", g.Accumulate}, {"bias", g.Bias != nil}, {"pre", g.Pre != nil}, {"act", g.Act != kernels.NoActivation},
		{"act'", g.GradOf != nil}, {"residual", g.Residual != nil}, {"gamma", g.Gamma != nil}, {"row scale", g.RowScale != nil},
	} {
		if x.set {
			what += ", " + x.name
		}
	}
	c.announce(operation{"Gemm", what, kernels.GemmFLOPs(g.M, g.N, g.K), kernels.GemmBytes(g)})
	c.inner.Gemm(g)
}

func (c *counted) ColSum(out, x *tensor.Tensor, scale float64, accumulate bool) {
	c.on("ColSum", x, x, out, again(accumulate, out))
	c.inner.ColSum(out, x, scale, accumulate)
}

func (c *counted) LayerScaleBackward(dw, db, dgamma, g, col, w, b, gamma *tensor.Tensor) {
	c.on("LayerScaleBackward", w, dw, db, dgamma, g, col, w, b, gamma)
	c.inner.LayerScaleBackward(dw, db, dgamma, g, col, w, b, gamma)
}

func (c *counted) ActForward(out, x *tensor.Tensor, act kernels.Activation) {
	c.on("ActForward", x, out, x)
	c.inner.ActForward(out, x, act)
}

func (c *counted) ActBackward(dx, dy, x *tensor.Tensor, act kernels.Activation) {
	c.on("ActBackward", x, dx, dy, x)
	c.inner.ActBackward(dx, dy, x, act)
}

func (c *counted) SwiGLU(out, x *tensor.Tensor) {
	c.on("SwiGLU", x, out, x)
	c.inner.SwiGLU(out, x)
}

func (c *counted) SwiGLUBackward(dx, dy, x *tensor.Tensor) {
	c.on("SwiGLUBackward", x, dx, dy, x)
	c.inner.SwiGLUBackward(dx, dy, x)
}

func (c *counted) LayerNorm(y, mean, rstd, x, gamma, beta *tensor.Tensor, eps float64) {
	c.on("LayerNorm", x, y, mean, rstd, x, gamma, beta)
	c.inner.LayerNorm(y, mean, rstd, x, gamma, beta, eps)
}

func (c *counted) LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma *tensor.Tensor, accumulate bool) {
	c.on("LayerNormBackward", x, dx, dgamma, dbeta, dy, x, mean, rstd, gamma, again(accumulate, dx))
	c.inner.LayerNormBackward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, accumulate)
}

func (c *counted) L2Normalize(y, norm, x *tensor.Tensor, eps float64) {
	c.on("L2Normalize", x, y, norm, x)
	c.inner.L2Normalize(y, norm, x, eps)
}

func (c *counted) L2NormalizeBackward(dx, dy, y, norm *tensor.Tensor, eps float64) {
	c.on("L2NormalizeBackward", y, dx, dy, y, norm)
	c.inner.L2NormalizeBackward(dx, dy, y, norm, eps)
}

func (c *counted) WeightNorm(w, norm, v, gain *tensor.Tensor) {
	c.on("WeightNorm", v, w, norm, v, gain)
	c.inner.WeightNorm(w, norm, v, gain)
}

func (c *counted) WeightNormBackward(dv, dgain, dw, v, gain, norm *tensor.Tensor) {
	c.on("WeightNormBackward", v, dv, dgain, dw, v, gain, norm)
	c.inner.WeightNormBackward(dv, dgain, dw, v, gain, norm)
}

// attention announces an attention of one pack.
func (c *counted) attention(name string, a kernels.Attention, flops func([]int32, int, int) int64, bytes int64) {
	head := a.QKV.Dim(1) / 3 / a.Heads
	what := fmt.Sprintf("%d sequences, %d tokens, %d heads of %d", len(a.Seqs.Host)-1, a.QKV.Dim(0), a.Heads, head)
	c.announce(operation{name, what, flops(a.Seqs.Host, a.Heads, head), bytes})
}

func (c *counted) Attention(a kernels.Attention) {
	c.attention("Attention", a, kernels.AttentionFLOPs, kernels.AttentionBytes(a))
	c.inner.Attention(a)
}

func (c *counted) AttentionBackward(a kernels.AttentionGrad) {
	c.attention("AttentionBackward", a.Attention, kernels.AttentionBackwardFLOPs, kernels.AttentionBackwardBytes(a))
	c.inner.AttentionBackward(a)
}

func (c *counted) AttentionRows(probs, queries *tensor.Tensor, a kernels.Attention) {
	c.on("AttentionRows", probs, probs, queries, a.QKV)
	c.inner.AttentionRows(probs, queries, a)
}

func (c *counted) RoPE(qkv, cos, sin, index *tensor.Tensor, heads int, inverse bool) {
	// Queries and keys are two thirds of the matrix, each read and written.
	c.announce(operation{name: "RoPE", shape: shape(qkv), bytes: kernels.Bytes(qkv)*4/3 + kernels.Bytes(cos, sin, index)})
	c.inner.RoPE(qkv, cos, sin, index, heads, inverse)
}

func (c *counted) Patchify(out, images *tensor.Tensor, p int) {
	c.on("Patchify", out, out, images)
	c.inner.Patchify(out, images, p)
}

func (c *counted) GatherRows(out, table, index *tensor.Tensor, accumulate bool) {
	c.on("GatherRows", out, out, out, index, again(accumulate, out))
	c.inner.GatherRows(out, table, index, accumulate)
}

func (c *counted) ScatterRows(dtable, dout, starts, rows *tensor.Tensor, accumulate bool) {
	c.on("ScatterRows", dtable, dtable, dout, starts, rows, again(accumulate, dtable))
	c.inner.ScatterRows(dtable, dout, starts, rows, accumulate)
}

func (c *counted) RowLogSumExp(lse, x, centre *tensor.Tensor, invTemp float64) {
	c.on("RowLogSumExp", x, lse, x, centre)
	c.inner.RowLogSumExp(lse, x, centre, invTemp)
}

func (c *counted) ColSumExp(out, x, centre, lse *tensor.Tensor, invTemp float64) {
	c.on("ColSumExp", x, out, x, centre, lse)
	c.inner.ColSumExp(out, x, centre, lse, invTemp)
}

func (c *counted) SoftmaxRows(p, x, centre, lse *tensor.Tensor, invTemp float64) {
	c.on("SoftmaxRows", x, p, x, centre, lse)
	c.inner.SoftmaxRows(p, x, centre, lse, invTemp)
}

func (c *counted) SinkhornCentre(centre, colsum *tensor.Tensor, scale, invTemp float64) {
	c.on("SinkhornCentre", centre, centre, centre, colsum)
	c.inner.SinkhornCentre(centre, colsum, scale, invTemp)
}

func (c *counted) CrossEntropy(x kernels.CrossEntropy) {
	c.on("CrossEntropy", x.S, x.Loss, x.DS, x.S, x.SLSE, x.T, x.TLSE, x.Centre, x.Starts, x.Rows, x.Weights)
	c.inner.CrossEntropy(x)
}

func (c *counted) Entropy(out, x *tensor.Tensor) {
	c.on("Entropy", x, out, x)
	c.inner.Entropy(out, x)
}

func (c *counted) NearestRows(index, dots *tensor.Tensor) {
	c.on("NearestRows", dots, index, dots)
	c.inner.NearestRows(index, dots)
}

func (c *counted) KoLeo(loss, dx, x, index *tensor.Tensor, eps, minDist, weight float64) {
	c.on("KoLeo", x, loss, dx, x, index)
	c.inner.KoLeo(loss, dx, x, index, eps, minDist, weight)
}

func (c *counted) MSE(loss, da, a, b *tensor.Tensor, weight float64) {
	c.on("MSE", a, loss, da, a, b)
	c.inner.MSE(loss, da, a, b, weight)
}

func (c *counted) Sum(out, x *tensor.Tensor, scale float64, accumulate bool) {
	c.on("Sum", x, out, x)
	c.inner.Sum(out, x, scale, accumulate)
}

func (c *counted) ColMoments(mean, variance, x *tensor.Tensor) {
	c.on("ColMoments", x, mean, variance, x)
	c.inner.ColMoments(mean, variance, x)
}

func (c *counted) GradSquares(out *tensor.Tensor, p *kernels.ParamTable) {
	o := operation{name: "GradSquares", shape: tableShape(p)}
	for _, e := range p.Entries {
		o.bytes += kernels.Bytes(e.Grad)
	}
	c.announce(o)
	c.inner.GradSquares(out, p)
}

func (c *counted) Guard(g kernels.Guard) {
	c.on("Guard", g.Squares, g.Scale, g.Missed, g.Squares, g.Losses)
	c.inner.Guard(g)
}

func (c *counted) AdamW(p *kernels.ParamTable, scale *tensor.Tensor, s kernels.AdamWStep) {
	c.announce(operation{name: "AdamW", shape: tableShape(p), bytes: kernels.AdamWBytes(p)})
	c.inner.AdamW(p, scale, s)
}

func (c *counted) EMA(dst, src, scale *tensor.Tensor, momentum float64) {
	c.on("EMA", dst, dst, src, dst)
	c.inner.EMA(dst, src, scale, momentum)
}

func tableShape(p *kernels.ParamTable) string {
	n := 0
	for _, e := range p.Entries {
		n += e.Param.Len()
	}
	return fmt.Sprintf("%d tensors, %d elements", len(p.Entries), n)
}
