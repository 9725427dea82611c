package kernels

import "github.com/dino-mx/dmx/tensor"

// The counts below are what an operation must do at least, for benchmarks and for the model FLOP utilisation of a
// step. A FLOP is one addition, multiplication, division, root or elementary function; a fused multiply-add is
// two. Bytes count every input read once and every output written once, as if the caches were perfect; an
// accumulated output counts twice.

// Bytes is the size of the tensors together; nil ones are empty.
func Bytes(tensors ...*tensor.Tensor) int64 {
	n := int64(0)
	for _, t := range tensors {
		if t != nil {
			n += int64(t.NumBytes())
		}
	}
	return n
}

// GemmFLOPs is 2·m·n·k, without the epilogue.
func GemmFLOPs(m, n, k int) int64 { return 2 * int64(m) * int64(n) * int64(k) }

// GemmBytes is the traffic of one Gemm: the stretches of A and B it reads, the vectors and matrices of its
// epilogue, and the stretch of Out (twice with Accumulate).
func GemmBytes(g Gemm) int64 {
	at := func(t *tensor.Tensor, rows, cols int) int64 {
		if t == nil {
			return 0
		}
		return int64(rows) * int64(cols) * int64(t.DType().Size())
	}
	n := at(g.A, g.M, g.K) + at(g.B, g.K, g.N) + at(g.Out, g.M, g.N)
	if g.Accumulate {
		n += at(g.Out, g.M, g.N)
	}
	return n + at(g.Pre, g.M, g.N) + at(g.GradOf, g.M, g.N) + at(g.Residual, g.M, g.N) +
		at(g.Bias, 1, g.N) + at(g.Gamma, 1, g.N) + at(g.RowScale, 1, g.M)
}

// AttentionFLOPs is 4·Σ len²·heads·headDim over the sequences that starts delimits: the two products of the
// forward pass (Dao's convention, which leaves the softmax out).
func AttentionFLOPs(starts []int32, heads, headDim int) int64 {
	n := int64(0)
	for i := range len(starts) - 1 {
		length := int64(starts[i+1] - starts[i])
		n += 4 * length * length * int64(heads) * int64(headDim)
	}
	return n
}

// AttentionBackwardFLOPs is 2.5 times the forward pass: five products instead of two.
func AttentionBackwardFLOPs(starts []int32, heads, headDim int) int64 {
	return AttentionFLOPs(starts, heads, headDim) / 2 * 5
}

// AttentionBytes is the traffic of one Attention.
func AttentionBytes(a Attention) int64 { return Bytes(a.QKV, a.Out, a.LSE, a.Seqs.Starts) }

// AttentionBackwardBytes is the traffic of one AttentionBackward; Delta is written and read again.
func AttentionBackwardBytes(a AttentionGrad) int64 {
	return Bytes(a.QKV, a.Out, a.LSE, a.Seqs.Starts, a.DOut, a.DQKV, a.Delta, a.Delta)
}

// FLOPs of one element of the operations that walk over their operands once. They are the steps of the formula in
// the operation's doc comment, statistics included.
const (
	LayerNormFLOPs           = 8  // two sums, square, subtract, scale, gamma, beta
	LayerNormBackwardFLOPs   = 15 // x̂ (2), g, two products of sums (4), dgamma and dbeta (3), dx (5)
	L2NormalizeFLOPs         = 3
	L2NormalizeBackwardFLOPs = 5
	WeightNormFLOPs          = 4
	WeightNormBackwardFLOPs  = 8
	RowLogSumExpFLOPs        = 5
	ColSumExpFLOPs           = 5
	SoftmaxRowsFLOPs         = 4
	RoPEFLOPs                = 3  // of each rotated channel
	SwiGLUFLOPs              = 5  // of each output
	SwiGLUBackwardFLOPs      = 11 // of each output
	ActivationFLOPs          = 6
	ActivationBackwardFLOPs  = 10
	KoLeoFLOPs               = 9
	ColMomentsFLOPs          = 4
	AdamWFLOPs               = 17 // with the teacher
)

// CrossEntropyFLOPs counts CrossEntropy for rows student rows of cols prototypes that meet teachers pairs times:
// exp and log-probability of each row (4 an element), then 4 an element for the probability, 2 for the loss and 4
// for the gradient of every pair.
func CrossEntropyFLOPs(rows, pairs, cols int) int64 {
	return (4*int64(rows) + 10*int64(pairs)) * int64(cols)
}

// AdamWBytes is the traffic of one AdamW step over the table: gradient read; parameter, moments and teacher read and
// written; half copies written.
func AdamWBytes(p *ParamTable) int64 {
	n := int64(0)
	for i := range p.Entries {
		e := &p.Entries[i]
		if e.Frozen || e.Skip {
			n += Bytes(e.Param)
		} else {
			n += Bytes(e.Grad, e.Param, e.Param, e.M, e.M, e.V, e.V, e.Half)
		}
		n += Bytes(e.EMA, e.EMA, e.EMA16)
	}
	return n
}
