package cuda

import (
	"strconv"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// attentionRows is ROWS of attention_v2.cu: queries or keys of a block.
const attentionRows = 64

// backwardTile is how many rows the backward kernels stream at a time for each head size, as instantiated in
// attention_v2.cu.
var backwardTile = map[int]struct{ queries, keys int }{32: {64, 64}, 64: {64, 64}, 96: {32, 32}, 128: {16, 32}}

// tensorCoreHead reports whether version 2 has this head size and can read the rows.
func (b *Backend) tensorCoreHead(a *kernels.Attention, d int) bool {
	return b.versions.Attention != 1 && a.QKV.DType() == tensor.BF16 && a.QKV.Addr()%16 == 0 && a.Out.Addr()%16 == 0 &&
		(d == 32 || d == 64 || d == 96 || d == 128)
}

// attentionV2 launches a kernel of version 2: a block for each 64 rows of each head of each sequence.
func (b *Backend) attentionV2(name string, a *kernels.Attention, d, shared int) {
	grid := [3]int{(a.Seqs.MaxLen + attentionRows - 1) / attentionRows, a.Heads, len(a.Seqs.Host) - 1}
	b.run("attention_v2", name+"_"+strconv.Itoa(d), grid, [3]int{128, 1, 1}, shared)
}

// Attention is softmax attention over packed sequences.
func (b *Backend) Attention(a kernels.Attention) {
	kernels.CheckAttention(a)
	mustDevice(a.QKV.DType())
	tokens, d := headSize(&a)
	if b.tensorCoreHead(&a, d) {
		b.args.reset().ptr(a.Out).ptr(a.LSE).ptr(a.QKV).ptr(a.Seqs.Starts).i32(tokens, a.Heads).f32(a.Scale)
		b.attentionV2("attention_v2", &a, d, 5*attentionRows*d*2)
		return
	}
	name, _ := form("attention_v1", false, a.QKV)
	b.args.reset().ptr(a.Out).ptr(a.LSE).ptr(a.QKV).ptr(a.Seqs.Starts).i32(len(a.Seqs.Host)-1, tokens, a.Heads, d).f32(a.Scale)
	b.run("attention_v1", name, [3]int{tokens, a.Heads, 1}, [3]int{128, 1, 1}, 4*a.Seqs.MaxLen)
}

// AttentionBackward writes DQKV, recomputing the probabilities from LSE.
func (b *Backend) AttentionBackward(a kernels.AttentionGrad) {
	kernels.CheckAttentionBackward(a)
	mustDevice(a.QKV.DType())
	tokens, d := headSize(&a.Attention)
	name, _ := form("attention_delta", false, a.QKV)
	b.args.reset().ptr(a.Delta).ptr(a.Out).ptr(a.DOut).i32(tokens, a.Heads, d)
	b.run("attention_v1", name, [3]int{tokens, (a.Heads + 7) / 8, 1}, [3]int{32, 8, 1}, 0)
	if b.tensorCoreHead(&a.Attention, d) && a.DOut.Addr()%16 == 0 && a.DQKV.Addr()%16 == 0 {
		tile := backwardTile[d]
		for _, k := range []struct {
			name   string
			stream int
		}{{"attention_dkv_v2", tile.queries}, {"attention_dq_v2", tile.keys}} {
			b.args.reset().ptr(a.DQKV).ptr(a.QKV).ptr(a.DOut).ptr(a.LSE).ptr(a.Delta).ptr(a.Seqs.Starts).i32(tokens, a.Heads).f32(a.Scale)
			b.attentionV2(k.name, &a.Attention, d, (2*attentionRows+4*k.stream)*d*2)
		}
		return
	}
	for _, kernel := range []string{"attention_dq_v1", "attention_dkv_v1"} {
		name, _ = form(kernel, false, a.QKV)
		b.args.reset().ptr(a.DQKV).ptr(a.QKV).ptr(a.DOut).ptr(a.LSE).ptr(a.Delta).ptr(a.Seqs.Starts).
			i32(len(a.Seqs.Host)-1, tokens, a.Heads, d).f32(a.Scale)
		b.run("attention_v1", name, [3]int{tokens, a.Heads, 1}, [3]int{128, 1, 1}, 8*a.Seqs.MaxLen)
	}
}

// AttentionRows writes the softmax rows of chosen queries.
func (b *Backend) AttentionRows(probs, queries *tensor.Tensor, a kernels.Attention) {
	kernels.CheckAttentionRows(probs, queries, a)
	mustDevice(a.QKV.DType())
	_, d := headSize(&a)
	name, _ := form("attention_rows", false, a.QKV)
	b.args.reset().any(probs).ptr(queries).ptr(a.QKV).ptr(a.Seqs.Starts).i32(len(a.Seqs.Host)-1, a.Seqs.MaxLen, a.Heads, d).f32(a.Scale)
	b.run("attention_v1", name, [3]int{queries.Len(), a.Heads, 1}, [3]int{128, 1, 1}, 4*a.Seqs.MaxLen)
}

func headSize(a *kernels.Attention) (tokens, d int) {
	rows, cols := kernels.Matrix(a.QKV)
	return rows, cols / (3 * a.Heads)
}
