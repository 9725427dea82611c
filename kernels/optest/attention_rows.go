package optest

import (
	"fmt"
	"math"
	"strings"

	"github.com/dino-mx/dmx/kernels"
)

// attentionCase is one packing of sequences.
type attentionCase struct {
	lengths []int
	heads   int
	d       int     // channels of a head
	spread  float64 // standard deviation of q and k: the larger, the sharper the softmax
	noLSE   bool
}

func (c attentionCase) name() string {
	lengths := make([]string, len(c.lengths))
	for i, n := range c.lengths {
		lengths[i] = fmt.Sprint(n)
	}
	return fmt.Sprintf("%s/h%dd%d/s%g", strings.Join(lengths, "+"), c.heads, c.d, c.spread)
}

func (c attentionCase) tokens() int {
	n := 0
	for _, l := range c.lengths {
		n += l
	}
	return n
}

func (c attentionCase) starts() []int32 {
	s := []int32{0}
	for _, l := range c.lengths {
		s = append(s, s[len(s)-1]+int32(l))
	}
	return s
}

func (c attentionCase) longest() int {
	n := 0
	for _, l := range c.lengths {
		n = max(n, l)
	}
	return n
}

func (c attentionCase) scale() float64 { return 1 / math.Sqrt(float64(c.d)) }

func attentionCases() (list, large, medium []attentionCase) {
	for i, e := range edges {
		d := []int{64, 16, 32, 80, 128, 8}[i%6]
		list = append(list, attentionCase{lengths: []int{e}, heads: 1 + i%3, d: d, spread: 1})
	}
	list = append(list,
		attentionCase{lengths: []int{5, 1, 17, 33, 2}, heads: 2, d: 64, spread: 1},
		attentionCase{lengths: []int{37, 37, 10, 10, 10}, heads: 3, d: 32, spread: 2},
		attentionCase{lengths: []int{3, 0, 4}, heads: 1, d: 64, spread: 1},
		attentionCase{lengths: []int{197, 37}, heads: 1, d: 64, spread: 1},
		attentionCase{lengths: []int{20, 65}, heads: 2, d: 64, spread: 12},
		attentionCase{lengths: []int{40}, heads: 2, d: 64, spread: 0},
		attentionCase{lengths: []int{9, 33}, heads: 2, d: 6, spread: 1},
		attentionCase{lengths: []int{18}, heads: 1, d: 72, spread: 1},
		attentionCase{lengths: []int{65, 5}, heads: 2, d: 96, spread: 1},
	)
	large = []attentionCase{
		{lengths: repeat(197, 4), heads: 6, d: 64, spread: 1},
		{lengths: append(repeat(197, 2), repeat(37, 8)...), heads: 6, d: 64, spread: 1},
		{lengths: []int{1025}, heads: 6, d: 64, spread: 1},
	}
	medium = []attentionCase{{lengths: []int{197, 197, 37, 37, 37}, heads: 6, d: 64, spread: 1}}
	return list, large, medium
}

func repeat(v, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = v
	}
	return s
}

func attentionRows() []*spec {
	var list []*spec
	add := func(op string, flops func([]int32, int, int) int64, cases []attentionCase, size size, build func(attentionCase, *row)) {
		for _, c := range cases {
			work := flops(c.starts(), c.heads, c.d)
			name := c.name()
			if size != tile {
				name = []string{split: "split/", bench: "bench/"}[size] + name
			}
			if c.noLSE {
				name = "no lse/" + name
			}
			list = append(list, &spec{op: op, name: name, work: max(work, int64(c.tokens()*c.heads*c.d)), size: size, build: func(r *row) {
				r.flops = work
				build(c, r)
			}})
		}
	}
	cases, large, medium := attentionCases()
	without := cases[5]
	without.noLSE = true
	add("Attention", kernels.AttentionFLOPs, append(cases, without), tile, attentionCase.forward)
	add("Attention", kernels.AttentionFLOPs, large, bench, attentionCase.forward)
	add("Attention", kernels.AttentionFLOPs, medium, split, attentionCase.forward)
	at := len(list)
	add("AttentionBackward", kernels.AttentionBackwardFLOPs, cases, tile, attentionCase.backward)
	gradients(list[at:])
	add("AttentionBackward", kernels.AttentionBackwardFLOPs, large, bench, attentionCase.backward)
	add("AttentionBackward", kernels.AttentionBackwardFLOPs, medium, split, attentionCase.backward)
	add("AttentionRows", kernels.AttentionFLOPs, cases, tile, attentionCase.rows)
	return append(list, ropeRows()...)
}

// packedInput adds the packed q, k, v. The spread is that of q and k; v has 1.
func (c attentionCase) packedInput(r *row) *operand {
	qkv := r.in("QKV", normal(1), c.tokens(), 3*c.heads*c.d)
	inner := c.heads * c.d
	for i := range qkv.val {
		if i%(3*inner) < 2*inner {
			qkv.val[i] = round(qkv.dtype, qkv.val[i]*c.spread)
		}
	}
	return qkv
}

func (c attentionCase) sequences(r *row) (*operand, func() kernels.Sequences) {
	host := c.starts()
	starts := r.index("Starts", host, len(host))
	return starts, func() kernels.Sequences {
		return kernels.Sequences{Starts: starts.t, Host: host, MaxLen: c.longest()}
	}
}

// at reads part (0 q, 1 k, 2 v) of one token and head.
func (c attentionCase) at(v []float64, token, part, head int) []float64 {
	i := ((token*3+part)*c.heads + head) * c.d
	return v[i : i+c.d]
}

func absDot(a, b []float64) (dot, size float64) {
	for i := range a {
		dot += a[i] * b[i]
		size += math.Abs(a[i] * b[i])
	}
	return dot, size
}

// eachQuery walks over every sequence, head and query.
func (c attentionCase) eachQuery(f func(lo, hi, head, i int)) {
	starts := c.starts()
	for s := range c.lengths {
		for h := range c.heads {
			for i := int(starts[s]); i < int(starts[s+1]); i++ {
				f(int(starts[s]), int(starts[s+1]), h, i)
			}
		}
	}
}

// scores gives, for one query, the scaled scores, their errors, and bounds on the relative error of a probability
// and on the error of the log-sum-exp.
func (c attentionCase) scores(qkv []float64, lo, hi, head, i int) (s []float64, rel func(j int) float64, lse, eLSE float64) {
	s, e := make([]float64, hi-lo), make([]float64, hi-lo)
	top := math.Inf(-1)
	for j := range s {
		dot, size := absDot(c.at(qkv, i, 0, head), c.at(qkv, lo+j, 1, head))
		s[j] = c.scale() * dot
		e[j] = c.scale()*(gamma(c.d)+2*u)*size + 2*u*math.Abs(s[j])
		top = math.Max(top, s[j])
	}
	sum := 0.0
	for _, v := range s {
		sum += math.Exp(v - top)
	}
	lse = top + math.Log(sum)
	for j := range s {
		eLSE += math.Exp(s[j]-lse) * (e[j] + 2*u*math.Abs(s[j]-top))
	}
	eLSE += gamma(hi-lo) + 6*u + 2*u*math.Abs(lse)
	return s, func(j int) float64 { return e[j] + eLSE + 2*u*math.Abs(s[j]-lse) + 6*u }, lse, eLSE
}

func (c attentionCase) forward(r *row) {
	r.plain = true
	qkv := c.packedInput(r)
	_, seqs := c.sequences(r)
	o := r.out("Out", c.tokens(), c.heads*c.d)
	var lse *operand
	if !c.noLSE {
		lse = r.outStat("LSE", c.heads, c.tokens())
	}
	r.call = func(b kernels.Backend) {
		b.Attention(kernels.Attention{Out: o.t, LSE: tensorOf(lse), QKV: qkv.t, Seqs: seqs(), Heads: c.heads, Scale: c.scale()})
	}
	r.bound = func() {
		c.eachQuery(func(lo, hi, h, i int) {
			s, rel, l, e := c.scores(qkv.val, lo, hi, h, i)
			if lse != nil {
				lse.err[h*c.tokens()+i] = e
			}
			err := c.slice(o.err, i, h)
			for j := range s {
				p := math.Exp(s[j] - l)
				for k, v := range c.at(qkv.val, lo+j, 2, h) {
					err[k] += p * math.Abs(v) * (rel(j) + gamma(hi-lo) + 2*u)
				}
			}
		})
	}
}

// slice is the channels of one token and head of an output [T, heads·d].
func (c attentionCase) slice(v []float64, token, head int) []float64 {
	i := (token*c.heads + head) * c.d
	return v[i : i+c.d]
}

func (c attentionCase) backward(r *row) {
	r.plain = true
	qkv := c.packedInput(r)
	_, seqs := c.sequences(r)
	dout := r.in("DOut", normal(1), c.tokens(), c.heads*c.d)
	o := r.in("Out", nil, c.tokens(), c.heads*c.d)
	lse := r.stat("LSE", nil, c.heads, c.tokens())
	c.eachQuery(func(lo, hi, h, i int) {
		s, _, l, _ := c.scores(qkv.val, lo, hi, h, i)
		lse.val[h*c.tokens()+i] = round(lse.dtype, l)
		result := c.slice(o.val, i, h)
		clear(result)
		for j := range s {
			for k, v := range c.at(qkv.val, lo+j, 2, h) {
				result[k] += math.Exp(s[j]-l) * v
			}
		}
		for k := range result {
			result[k] = round(o.dtype, result[k])
		}
	})
	dqkv := r.out("DQKV", c.tokens(), 3*c.heads*c.d)
	delta := r.add("Delta", scratch, r.statType(), nil, []int{c.heads, c.tokens()})
	r.call = func(b kernels.Backend) {
		b.AttentionBackward(kernels.AttentionGrad{
			Attention: kernels.Attention{Out: o.t, LSE: lse.t, QKV: qkv.t, Seqs: seqs(), Heads: c.heads, Scale: c.scale()},
			DOut:      dout.t, DQKV: dqkv.t, Delta: delta.t,
		})
	}
	r.bound = func() {
		c.eachQuery(func(lo, hi, h, i int) {
			do := c.slice(dout.val, i, h)
			dd, sizeD := absDot(do, c.slice(o.val, i, h))
			l := lse.val[h*c.tokens()+i]
			q, dq := c.at(qkv.val, i, 0, h), c.at(dqkv.err, i, 0, h)
			sum := gamma(hi-lo) + 3*u
			for j := lo; j < hi; j++ {
				k, v := c.at(qkv.val, j, 1, h), c.at(qkv.val, j, 2, h)
				dk, dv := c.at(dqkv.err, j, 1, h), c.at(dqkv.err, j, 2, h)
				dot, size := absDot(q, k)
				dp, sizeP := absDot(do, v)
				s := c.scale() * dot
				rel := c.scale()*(gamma(c.d)+2*u)*size + 2*u*(math.Abs(s)+math.Abs(l)) + 6*u
				p := math.Exp(s - l)
				ds := p * math.Abs(dp-dd)
				es := p*(gamma(c.d)+3*u)*(sizeP+sizeD) + ds*rel + flush*math.Abs(dp-dd) // p may be flushed
				for x := range c.d {
					dv[x] += math.Abs(do[x]) * (p*(rel+sum) + flush)
					dq[x] += c.scale() * math.Abs(k[x]) * (es + ds*sum)
					dk[x] += c.scale() * math.Abs(q[x]) * (es + ds*sum)
				}
			}
		})
	}
}

// rows asks for the first and last query of every sequence, twice for the first.
func (c attentionCase) rows(r *row) {
	qkv := c.packedInput(r)
	_, seqs := c.sequences(r)
	var list []int32
	starts := c.starts()
	for s, n := range c.lengths {
		if n > 0 {
			list = append(list, starts[s], starts[s+1]-1, starts[s])
		}
	}
	queries := r.index("queries", list, len(list))
	probs := r.add("probs", out, r.paramType(), nil, []int{len(list), c.heads, c.longest()})
	r.call = func(b kernels.Backend) {
		b.AttentionRows(probs.t, queries.t, kernels.Attention{QKV: qkv.t, Seqs: seqs(), Heads: c.heads, Scale: c.scale()})
	}
	r.bound = func() {
		for n, i := range list {
			s := 0
			for starts[s+1] <= i {
				s++
			}
			lo, hi := int(starts[s]), int(starts[s+1])
			for h := range c.heads {
				_, rel, _, _ := c.scores(qkv.val, lo, hi, h, int(i))
				for j := range hi - lo {
					at := (n*c.heads+h)*c.longest() + j
					probs.err[at] = probs.want[at]*rel(j) + flush
				}
			}
		}
	}
}

func ropeRows() []*spec {
	var list []*spec
	for i, tokens := range append(edges, 300) {
		d := []int{64, 8, 16, 128, 6, 80}[i%6]
		heads := 1 + i%3
		for _, inverse := range []bool{false, true} {
			list = append(list, ropeRow(tokens, heads, d, inverse))
		}
	}
	return append(list, sized([]*spec{ropeRow(1576, 6, 64, false)}, []*spec{ropeRow(197, 6, 64, true)})...)
}

func ropeRow(tokens, heads, d int, inverse bool) *spec {
	n := tokens * 2 * heads * d
	return &spec{op: "RoPE", name: fmt.Sprintf("%d/h%dd%d/inverse %t", tokens, heads, d, inverse), work: int64(n), gradient: inverse, build: func(r *row) {
		r.flops = int64(n) * kernels.RoPEFLOPs
		const table = 23
		angles := make([]float64, table*d/2)
		for i := range angles {
			angles[i] = r.rand.Uniform(-7, 7)
		}
		cos := r.stat("cos", nil, table, d/2)
		sin := r.stat("sin", nil, table, d/2)
		for i, a := range angles {
			cos.val[i], sin.val[i] = round(cos.dtype, math.Cos(a)), round(sin.dtype, math.Sin(a))
		}
		list := make([]int32, tokens)
		for t := range list {
			list[t] = int32(r.rand.Intn(table+3)) - 3
			list[t] = max(list[t], -1) // CLS, registers: left alone
		}
		index := r.index("index", list, tokens)
		qkv := r.inout("qkv", r.dtype, normal(2), tokens, 3*heads*d)
		r.call = func(b kernels.Backend) { b.RoPE(qkv.t, cos.t, sin.t, index.t, heads, inverse) }
		r.unmoved = func() int64 { // v, and tokens left alone
			n := int64(0)
			for _, at := range list {
				if at < 0 {
					n += 3
				} else {
					n++
				}
			}
			return 2 * n * int64(heads*d*qkv.t.DType().Size())
		}
		r.bound = func() {
			inner := heads * d
			each(qkv, func(i int) float64 {
				t, c := i/(3*inner), i%(3*inner)
				if list[t] < 0 || c >= 2*inner {
					return 0
				}
				// The other half of the pair.
				j := i + d/2
				if c%d >= d/2 {
					j = i - d/2
				}
				return 3 * u * (math.Abs(qkv.val[i]) + math.Abs(qkv.val[j]))
			})
		}
	}}
}
