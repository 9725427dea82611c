package ref

import (
	"math"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// packed gives access to the q, k and v rows of a packed matrix [T, 3·heads·d].
type packed struct {
	data     []float64
	heads, d int
}

func (p packed) row(t, part, head int) []float64 {
	at := ((t*3+part)*p.heads + head) * p.d
	return p.data[at : at+p.d]
}

// The three parts of a packed row.
const (
	query = iota
	key
	value
)

// Attention is out = softmax(scale·q·kᵀ)·v, one query at a time.
func (b *Backend) Attention(a kernels.Attention) {
	kernels.CheckAttention(a)
	b.begin()
	rows, cols := kernels.Matrix(a.Out)
	d := cols / a.Heads
	in := packed{b.load(a.QKV), a.Heads, d}
	out, lse, p := b.zeros(rows*cols), b.take(a.Heads*rows), b.take(a.Seqs.MaxLen)
	for s := range len(a.Seqs.Host) - 1 {
		lo, hi := int(a.Seqs.Host[s]), int(a.Seqs.Host[s+1])
		for h := range a.Heads {
			for i := lo; i < hi; i++ {
				lse[h*rows+i] = softmaxRow(p[:hi-lo], in, i, lo, h, a.Scale)
				o := out[i*cols+h*d : i*cols+(h+1)*d]
				for j := lo; j < hi; j++ {
					pij := b.round(p[j-lo])
					for c, v := range in.row(j, value, h) {
						o[c] += pij * v
					}
				}
			}
		}
	}
	store(a.Out, 0, out)
	if a.LSE != nil {
		store(a.LSE, 0, lse)
	}
}

// softmaxRow fills p with the probabilities of query i over the keys from lo on and returns log Σ exp.
func softmaxRow(p []float64, in packed, i, lo, head int, scale float64) float64 {
	top := math.Inf(-1)
	for j := range p {
		p[j] = scale * dot(in.row(i, query, head), in.row(lo+j, key, head))
		top = math.Max(top, p[j])
	}
	sum := 0.0
	for _, s := range p {
		sum += math.Exp(s - top)
	}
	lse := top + math.Log(sum)
	for j, s := range p {
		p[j] = math.Exp(s - lse)
	}
	return lse
}

// AttentionBackward is, with p = exp(scale·q·k - lse), delta_i = dout_i·out_i and
// ds_ij = p_ij·(dout_i·v_j - delta_i): dv_j = Σ_i p_ij·dout_i, dq_i = scale·Σ_j ds_ij·k_j,
// dk_j = scale·Σ_i ds_ij·q_i.
func (b *Backend) AttentionBackward(a kernels.AttentionGrad) {
	kernels.CheckAttentionBackward(a)
	b.begin()
	rows, cols := kernels.Matrix(a.Out)
	d := cols / a.Heads
	in := packed{b.load(a.QKV), a.Heads, d}
	out, dout, lse := b.load(a.Out), b.load(a.DOut), b.load(a.LSE)
	grad := packed{b.zeros(3 * rows * cols), a.Heads, d}
	delta := b.take(a.Heads * rows)
	for s := range len(a.Seqs.Host) - 1 {
		lo, hi := int(a.Seqs.Host[s]), int(a.Seqs.Host[s+1])
		for h := range a.Heads {
			for i := lo; i < hi; i++ {
				do := dout[i*cols+h*d : i*cols+(h+1)*d]
				delta[h*rows+i] = dot(do, out[i*cols+h*d:i*cols+(h+1)*d])
				q, dq := in.row(i, query, h), grad.row(i, query, h)
				for j := lo; j < hi; j++ {
					k, v := in.row(j, key, h), in.row(j, value, h)
					dk, dv := grad.row(j, key, h), grad.row(j, value, h)
					p := math.Exp(a.Scale*dot(q, k) - lse[h*rows+i])
					ds := a.Scale * b.round(p*(dot(do, v)-delta[h*rows+i]))
					p = b.round(p)
					for c := range d {
						dv[c] += p * do[c]
						dq[c] += ds * k[c]
						dk[c] += ds * q[c]
					}
				}
			}
		}
	}
	store(a.DQKV, 0, grad.data)
	store(a.Delta, 0, delta)
}

// AttentionRows writes the softmax rows of the listed queries.
func (b *Backend) AttentionRows(probs, queries *tensor.Tensor, a kernels.Attention) {
	kernels.CheckAttentionRows(probs, queries, a)
	b.begin()
	_, cols := kernels.Matrix(a.QKV)
	in := packed{b.load(a.QKV), a.Heads, cols / (3 * a.Heads)}
	row := b.take(a.Seqs.MaxLen)
	for n, i := range queries.I32() {
		s := 0
		for int(a.Seqs.Host[s+1]) <= int(i) {
			s++
		}
		lo, hi := int(a.Seqs.Host[s]), int(a.Seqs.Host[s+1])
		for h := range a.Heads {
			clear(row)
			softmaxRow(row[:hi-lo], in, int(i), lo, h, a.Scale)
			store(probs, (n*a.Heads+h)*a.Seqs.MaxLen, row)
		}
	}
}

// RoPE rotates the channel pairs (i, i+d/2) of q and k.
func (b *Backend) RoPE(qkv, cos, sin, index *tensor.Tensor, heads int, inverse bool) {
	kernels.CheckRoPE(qkv, cos, sin, index, heads)
	b.begin()
	rows, cols := kernels.Matrix(qkv)
	d := cols / (3 * heads)
	in := packed{b.take(rows * cols), heads, d}
	fetch(in.data, qkv, 0)
	cosines, sines := b.load(cos), b.load(sin)
	for t, at := range index.I32()[:rows] {
		if at < 0 {
			continue
		}
		for part := query; part <= key; part++ {
			for h := range heads {
				row := in.row(t, part, h)
				for i := range d / 2 {
					c, s := cosines[int(at)*d/2+i], sines[int(at)*d/2+i]
					if inverse {
						s = -s
					}
					row[i], row[i+d/2] = row[i]*c-row[i+d/2]*s, row[i+d/2]*c+row[i]*s
				}
			}
		}
		store(qkv, t*cols, in.data[t*cols:(t+1)*cols])
	}
}
