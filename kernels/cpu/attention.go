package cpu

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/gemm"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

// Attention works sequence by sequence and head by head: keys and values of one head are packed once for the
// micro-kernels of package gemm, then the queries pass by in tiles whose scores stay in the second-level cache.
// A tile holds whole rows of scores, so the softmax needs no rescaling.

// forwardScores and backwardScores are how many scores a tile holds at most, as long as that leaves it minTile
// rows: with 4 bytes a score this keeps a tile, its packed form and the packed keys in the second-level cache.
const (
	forwardScores  = 16 << 10
	backwardScores = 40 << 10
	minTile        = 14
)

// tileRows is the height of the tiles that rows queries of n keys each are cut into: as equal as possible.
func tileRows(rows, n, scores int) int {
	most := max(minTile, scores/n)
	return blocks(rows, blocks(rows, most))
}

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
	s := attentionShape{qkv: asMatrix(a.QKV), starts: a.Seqs.Host, heads: a.Heads, scale: float32(a.Scale)}
	s.d = s.qkv.cols / (3 * a.Heads)
	return s
}

func (s *attentionShape) seqs() int { return len(s.starts) - 1 }

// head is where the channels of head h of q (part 0), k (1) or v (2) begin in a row of qkv.
func (s *attentionShape) head(part, h int) int { return (part*s.heads + h) * s.d }

// packA packs rows×cols of m from (row, col) on as a left operand, transposed or not; packB as a right operand.
func (m *matrix) packA(dst []float32, row, col, rows, cols int) {
	at := row*m.cols + col
	if m.h != nil {
		gemm.PackABF16(dst, m.h[at:], m.cols, rows, cols, false)
		return
	}
	gemm.PackA(dst, m.f[at:], m.cols, rows, cols, false)
}

// packB packs rows×cols of m as a right operand; with trans it is multiplied transposed.
func (m *matrix) packB(dst []float32, row, col, rows, cols int, trans bool) {
	at := row*m.cols + col
	k, n := rows, cols
	if trans {
		k, n = cols, rows
	}
	if m.h != nil {
		gemm.PackBBF16(dst, m.h[at:], m.cols, k, n, trans)
		return
	}
	gemm.PackB(dst, m.f[at:], m.cols, k, n, trans)
}

type attentionOp struct {
	attentionShape
	parts int // pieces that the queries of a sequence are cut into
}

// Attention is softmax attention over packed sequences.
func (b *Backend) Attention(a kernels.Attention) {
	kernels.CheckAttention(a)
	b.mu.Lock()
	defer b.mu.Unlock()
	o := &b.ops.attn
	o.attentionShape = shapeOf(&a)
	o.out = asMatrix(a.Out)
	if a.LSE != nil {
		o.lse = a.LSE.F32()
	}
	// Cutting the queries packs keys and values again for each piece, so it is done only where there are too
	// few heads to share out. Rows do not depend on it.
	pairs := o.seqs() * o.heads
	o.parts = 1
	if pairs > 0 && pairs < 4*b.pool.Threads() {
		o.parts = min(blocks(4*b.pool.Threads(), pairs), blocks(a.Seqs.MaxLen, 4*minTile))
	}
	b.run(o, pairs*o.parts, 1)
}

func (o *attentionOp) do(w *worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		seq, h, part := i/(o.heads*o.parts), i/o.parts%o.heads, i%o.parts
		from, n := int(o.starts[seq]), int(o.starts[seq+1]-o.starts[seq])
		step := blocks(n, o.parts)
		o.head1(w, from, n, h, part*step, min((part+1)*step, n))
	}
}

// head1 writes the rows first to last of one head of the sequence of n tokens that begins at row from.
func (o *attentionOp) head1(w *worker, from, n, h, first, last int) {
	if first >= last {
		return
	}
	d := o.d
	k, v := w.buf(0, gemm.PackedB(d, n)), w.buf(1, gemm.PackedB(n, d))
	o.qkv.packB(k, from, o.head(1, h), n, d, true)
	o.qkv.packB(v, from, o.head(2, h), n, d, false)
	rows := tileRows(last-first, n, forwardScores)
	for t := first; t < last; t += rows {
		m := min(rows, last-t)
		q := w.buf(2, gemm.PackedA(m, d))
		o.qkv.packA(q, from+t, o.head(0, h), m, d)
		s := w.buf(3, m*n)
		gemm.Multiply(s, n, q, k, m, n, d, 1, false)
		inverse := w.buf(4, m)
		for r := range m {
			row := s[r*n : (r+1)*n]
			top := vec.Max(row) * o.scale
			sum := vec.ExpSum(row, row, o.scale, -top)
			inverse[r] = 1 / sum
			if o.lse != nil {
				o.lse[h*o.qkv.rows+from+t+r] = float32(float64(top) + math.Log(float64(sum)))
			}
		}
		p := w.buf(5, gemm.PackedA(m, n))
		gemm.PackA(p, s, n, m, n, false)
		c := w.buf(6, m*d)
		gemm.Multiply(c, d, p, v, m, d, n, 1, false)
		for r := range m {
			out := o.out.outPart(w, 7, from+t+r, h*d, (h+1)*d)
			vec.Scale(out, c[r*d:(r+1)*d], inverse[r])
			o.out.donePart(from+t+r, h*d, (h+1)*d, out)
		}
	}
}

type attentionRowsOp struct {
	attentionShape
	probs   matrix
	queries []int32
}

// AttentionRows writes the exact softmax rows of chosen queries.
func (b *Backend) AttentionRows(probs, queries *tensor.Tensor, a kernels.Attention) {
	kernels.CheckAttentionRows(probs, queries, a)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.attnRows = attentionRowsOp{shapeOf(&a), asMatrix(probs), queries.I32()}
	b.run(&b.ops.attnRows, b.ops.attnRows.probs.rows, 1)
}

func (o *attentionRowsOp) do(w *worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		t, h := int(o.queries[i/o.heads]), i%o.heads
		seq := 0
		for int(o.starts[seq+1]) <= t {
			seq++
		}
		from, to := int(o.starts[seq]), int(o.starts[seq+1])
		q := o.qkv.part(w, 1, t, o.head(0, h), o.head(0, h)+o.d)
		out := o.probs.out(w, 0, i)
		p := out[:to-from]
		for j := range p {
			p[j] = vec.Dot(q, o.qkv.part(w, 2, from+j, o.head(1, h), o.head(1, h)+o.d))
		}
		sum := vec.ExpSum(p, p, o.scale, -vec.Max(p)*o.scale)
		vec.Scale(p, p, 1/sum)
		clear(out[to-from:])
		o.probs.done(i, out)
	}
}
