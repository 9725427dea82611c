package cuda

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Attention is softmax attention over packed sequences.
func (b *Backend) Attention(a kernels.Attention) {
	kernels.CheckAttention(a)
	mustDevice(a.QKV.DType())
	tokens, d := b.headSize(&a)
	name, _ := form("attention_v1", false, a.QKV)
	b.args.reset().ptr(a.Out).ptr(a.LSE).ptr(a.QKV).ptr(a.Seqs.Starts).i32(len(a.Seqs.Host)-1, tokens, a.Heads, d).f32(a.Scale)
	b.run("attention_v1", name, [3]int{tokens, a.Heads, 1}, [3]int{128, 1, 1}, 4*a.Seqs.MaxLen)
}

// AttentionBackward writes DQKV, recomputing the probabilities from LSE.
func (b *Backend) AttentionBackward(a kernels.AttentionGrad) {
	kernels.CheckAttentionBackward(a)
	mustDevice(a.QKV.DType())
	tokens, d := b.headSize(&a.Attention)
	name, _ := form("attention_delta", false, a.QKV)
	b.args.reset().ptr(a.Delta).ptr(a.Out).ptr(a.DOut).i32(tokens, a.Heads, d)
	b.run("attention_v1", name, [3]int{tokens, (a.Heads + 7) / 8, 1}, [3]int{32, 8, 1}, 0)
	for _, part := range []string{"attention_dq_v1", "attention_dkv_v1"} {
		name, _ = form(part, false, a.QKV)
		b.args.reset().ptr(a.DQKV).ptr(a.QKV).ptr(a.DOut).ptr(a.LSE).ptr(a.Delta).ptr(a.Seqs.Starts).
			i32(len(a.Seqs.Host)-1, tokens, a.Heads, d).f32(a.Scale)
		b.run("attention_v1", name, [3]int{tokens, a.Heads, 1}, [3]int{128, 1, 1}, 8*a.Seqs.MaxLen)
	}
}

// AttentionRows writes the softmax rows of chosen queries.
func (b *Backend) AttentionRows(probs, queries *tensor.Tensor, a kernels.Attention) {
	kernels.CheckAttentionRows(probs, queries, a)
	mustDevice(a.QKV.DType())
	_, d := b.headSize(&a)
	name, _ := form("attention_rows", false, a.QKV)
	b.args.reset().any(probs).ptr(queries).ptr(a.QKV).ptr(a.Seqs.Starts).i32(len(a.Seqs.Host)-1, a.Seqs.MaxLen, a.Heads, d).f32(a.Scale)
	b.run("attention_v1", name, [3]int{queries.Len(), a.Heads, 1}, [3]int{128, 1, 1}, 4*a.Seqs.MaxLen)
}

func (b *Backend) headSize(a *kernels.Attention) (tokens, d int) {
	rows, cols := kernels.Matrix(a.QKV)
	return rows, cols / (3 * a.Heads)
}
