package cpu

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/gemm"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
)

type attentionGradOp struct {
	attentionShape
	dout, dqkv matrix
	delta      []float32
}

// AttentionBackward writes a.DQKV from a.DOut.
func (b *Backend) AttentionBackward(a kernels.AttentionGrad) {
	kernels.CheckAttentionBackward(a)
	b.mu.Lock()
	defer b.mu.Unlock()
	o := &b.ops.attnGrad
	o.attentionShape = shapeOf(&a.Attention)
	o.out, o.lse = asMatrix(a.Out), a.LSE.F32()
	o.dout, o.dqkv, o.delta = asMatrix(a.DOut), asMatrix(a.DQKV), a.Delta.F32()
	b.run(o, o.seqs()*o.heads, 1)
}

func (o *attentionGradOp) do(w *worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		o.head1(w, i/o.heads, i%o.heads)
	}
}

// head1 differentiates one head of one sequence. With p the probabilities, recomputed from the scores and lse:
//
//	dv = pᵀ·dout;  ds = scale·p·(dout·vᵀ - delta);  dq = ds·k;  dk = dsᵀ·q
//
// The sums over queries, in dv and dk, go tile by tile in ascending order.
func (o *attentionGradOp) head1(w *worker, seq, h int) {
	d, from := o.d, int(o.starts[seq])
	n := int(o.starts[seq+1]) - from
	if n == 0 {
		return
	}
	kt, vt, k := w.buf(0, gemm.PackedB(d, n)), w.buf(1, gemm.PackedB(d, n)), w.buf(2, gemm.PackedB(n, d))
	o.qkv.packB(kt, from, o.head(1, h), n, d, true)
	o.qkv.packB(vt, from, o.head(2, h), n, d, true)
	o.qkv.packB(k, from, o.head(1, h), n, d, false)
	// Gradients of f32 storage are summed in place.
	dk, ld := o.grad(w, 3, from, o.head(1, h), n)
	dv, _ := o.grad(w, 4, from, o.head(2, h), n)
	rows := tileRows(n, n, backwardScores)
	for t := 0; t < n; t += rows {
		m := min(rows, n-t)
		s, dp := w.buf(5, m*n), w.buf(6, m*n)
		a := w.buf(7, max(gemm.PackedA(m, d), gemm.PackedA(m, n), gemm.PackedA(n, m)))
		o.qkv.packA(a, from+t, o.head(0, h), m, d)
		gemm.Multiply(s, n, a, kt, m, n, d, 1, false)
		o.dout.packA(a, from+t, h*d, m, d)
		gemm.Multiply(dp, n, a, vt, m, n, d, 1, false)
		for r := range m {
			row := from + t + r
			delta := vec.Dot(o.dout.part(w, 8, row, h*d, (h+1)*d), o.out.part(w, 9, row, h*d, (h+1)*d))
			at := h*o.qkv.rows + row
			o.delta[at] = delta
			vec.ScoreGrad(s[r*n:(r+1)*n], dp[r*n:(r+1)*n], o.scale, -o.lse[at], delta)
		}
		b := w.buf(8, gemm.PackedB(m, d))
		gemm.PackA(a, s, n, n, m, true)
		o.dout.packB(b, from+t, h*d, m, d, false)
		gemm.Multiply(dv, ld, a, b, n, d, m, 1, t > 0)
		gemm.PackA(a, dp, n, n, m, true)
		o.qkv.packB(b, from+t, o.head(0, h), m, d, false)
		gemm.Multiply(dk, ld, a, b, n, d, m, 1, t > 0)
		gemm.PackA(a, dp, n, m, n, false)
		dq, _ := o.grad(w, 9, from+t, o.head(0, h), m)
		gemm.Multiply(dq, ld, a, k, m, d, n, 1, false)
		o.store(dq, from+t, o.head(0, h), m)
	}
	o.store(dk, from, o.head(1, h), n)
	o.store(dv, from, o.head(2, h), n)
}

// grad is memory for the gradient of n rows of one head: where it belongs if that is f32, scratch otherwise.
// ld is the distance of its rows.
func (o *attentionGradOp) grad(w *worker, i, row, col, n int) (g []float32, ld int) {
	if o.dqkv.h != nil {
		return w.buf(i, n*o.d), o.d
	}
	at := row*o.dqkv.cols + col
	return o.dqkv.f[at : at+(n-1)*o.dqkv.cols+o.d], o.dqkv.cols
}

// store rounds a gradient kept in scratch to its place.
func (o *attentionGradOp) store(g []float32, row, col, n int) {
	if o.dqkv.h == nil {
		return
	}
	for r := range n {
		o.dqkv.donePart(row+r, col, col+o.d, g[r*o.d:(r+1)*o.d])
	}
}
