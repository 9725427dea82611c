package cpu

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

// attentionShape is what the attention operations share: the packed matrix and where its sequences begin.
type attentionShape struct {
	qkv    matrix
	out    matrix
	lse    []float32 // [heads, tokens]
	starts []int32
	heads  int
	d      int
	scale  float32
}

func shapeOf(a *kernels.Attention) attentionShape {
	s := attentionShape{qkv: asMatrix(a.QKV), out: asMatrix(a.Out), starts: a.Seqs.Host, heads: a.Heads, scale: float32(a.Scale)}
	s.d = s.qkv.cols / (3 * a.Heads)
	if a.LSE != nil {
		s.lse = a.LSE.F32()
	}
	return s
}

func (s *attentionShape) seqs() int { return len(s.starts) - 1 }

func (s *attentionShape) q(w *worker, i, t, h int) []float32 {
	return s.qkv.part(w, i, t, h*s.d, (h+1)*s.d)
}

func (s *attentionShape) k(w *worker, i, t, h int) []float32 {
	return s.qkv.part(w, i, t, (s.heads+h)*s.d, (s.heads+h+1)*s.d)
}

func (s *attentionShape) v(w *worker, i, t, h int) []float32 {
	return s.qkv.part(w, i, t, (2*s.heads+h)*s.d, (2*s.heads+h+1)*s.d)
}

type attentionOp struct{ attentionShape }

// Attention is softmax attention over packed sequences.
func (b *Backend) Attention(a kernels.Attention) {
	kernels.CheckAttention(a)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.attn = attentionOp{shapeOf(&a)}
	b.run(&b.ops.attn, b.ops.attn.seqs()*a.Heads, 1)
}

func (o *attentionOp) do(w *worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		seq, h := i/o.heads, i%o.heads
		from, to := int(o.starts[seq]), int(o.starts[seq+1])
		p := w.buf(0, to-from)
		for t := from; t < to; t++ {
			q := o.q(w, 1, t, h)
			for j := range p {
				p[j] = vec.Dot(q, o.k(w, 2, from+j, h))
			}
			top := vec.Max(p) * o.scale
			sum := vec.ExpSum(p, p, o.scale, -top)
			out := o.out.outPart(w, 3, t, h*o.d, (h+1)*o.d)
			clear(out)
			for j, v := range p {
				vec.Axpy(out, o.v(w, 2, from+j, h), v/sum)
			}
			o.out.donePart(t, h*o.d, (h+1)*o.d, out)
			if o.lse != nil {
				o.lse[h*o.qkv.rows+t] = float32(float64(top) + math.Log(float64(sum)))
			}
		}
	}
}

type attentionGradOp struct {
	attentionShape
	dout, dqkv matrix
	delta      []float32
}

// AttentionBackward writes a.DQKV from a.DOut.
func (b *Backend) AttentionBackward(a kernels.AttentionGrad) {
	kernels.CheckAttentionBackward(a)
	o := attentionGradOp{shapeOf(&a.Attention), asMatrix(a.DOut), asMatrix(a.DQKV), a.Delta.F32()}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.attnGrad = o
	b.run(&b.ops.attnGrad, o.seqs()*a.Heads, 1)
}

func (o *attentionGradOp) do(w *worker, lo, hi int) {
	d := o.d
	for i := lo; i < hi; i++ {
		seq, h := i/o.heads, i%o.heads
		from, to := int(o.starts[seq]), int(o.starts[seq+1])
		n := to - from
		dk, dv := w.buf(4, n*d), w.buf(5, n*d)
		clear(dk)
		clear(dv)
		for t := from; t < to; t++ {
			q, dout := o.q(w, 0, t, h), o.dout.part(w, 1, t, h*d, (h+1)*d)
			delta := vec.Dot(dout, o.out.part(w, 2, t, h*d, (h+1)*d))
			o.delta[h*o.qkv.rows+t] = delta
			lse := o.lse[h*o.qkv.rows+t]
			dq := o.dqkv.outPart(w, 3, t, h*d, (h+1)*d)
			clear(dq)
			for j := range n {
				k := o.k(w, 2, from+j, h)
				p := float32(math.Exp(float64(vec.Dot(q, k)*o.scale - lse)))
				vec.Axpy(dv[j*d:(j+1)*d], dout, p)
				ds := vec.Dot(dout, o.v(w, 6, from+j, h)) - delta
				ds *= p * o.scale
				vec.Axpy(dq, k, ds)
				vec.Axpy(dk[j*d:(j+1)*d], q, ds)
			}
			o.dqkv.donePart(t, h*d, (h+1)*d, dq)
		}
		for j := range n {
			for part, src := range [2][]float32{dk, dv} {
				c := ((part+1)*o.heads + h) * d
				y := o.dqkv.outPart(w, 3, from+j, c, c+d)
				copy(y, src[j*d:(j+1)*d])
				o.dqkv.donePart(from+j, c, c+d, y)
			}
		}
	}
}

type attentionRowsOp struct {
	attentionShape
	probs   matrix
	queries []int32
	maxLen  int
}

// AttentionRows writes the exact softmax rows of chosen queries.
func (b *Backend) AttentionRows(probs, queries *tensor.Tensor, a kernels.Attention) {
	kernels.CheckAttentionRows(probs, queries, a)
	o := attentionRowsOp{shapeOf(&a), asMatrix(probs), queries.I32(), a.Seqs.MaxLen}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.attnRows = o
	b.run(&b.ops.attnRows, o.probs.rows, 1)
}

func (o *attentionRowsOp) do(w *worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		t, h := int(o.queries[i/o.heads]), i%o.heads
		seq := 0
		for int(o.starts[seq+1]) <= t {
			seq++
		}
		from, to := int(o.starts[seq]), int(o.starts[seq+1])
		out := o.probs.out(w, 0, i)
		p, q := out[:to-from], o.q(w, 1, t, h)
		for j := range p {
			p[j] = vec.Dot(q, o.k(w, 2, from+j, h))
		}
		sum := vec.ExpSum(p, p, o.scale, -vec.Max(p)*o.scale)
		vec.Scale(p, p, 1/sum)
		clear(out[to-from:])
		o.probs.done(i, out)
	}
}
