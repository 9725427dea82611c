package kernels

import (
	"testing"

	"github.com/dino-mx/dmx/tensor"
)

func TestCounts(t *testing.T) {
	f32 := func(shape ...int) *tensor.Tensor { return tensor.Zeros(tensor.F32, shape...) }
	qkv, out, lse := f32(5, 3*8), f32(5, 8), f32(2, 5)
	seqs := Sequences{Starts: tensor.FromI32([]int32{0, 2, 5}, 3), Host: []int32{0, 2, 5}, MaxLen: 3}
	att := Attention{Out: out, LSE: lse, QKV: qkv, Seqs: seqs, Heads: 2, Scale: 1}
	entry := ParamEntry{Param: f32(10), Grad: tensor.Zeros(tensor.BF16, 10), M: f32(10), V: f32(10), EMA: f32(10), Half: tensor.Zeros(tensor.BF16, 10)}
	frozen := entry
	frozen.Frozen = true
	tests := []struct {
		name      string
		got, want int64
	}{
		{"gemm flops", GemmFLOPs(3, 4, 5), 120},
		{"gemm bytes", GemmBytes(Gemm{M: 3, N: 4, K: 5, A: f32(3, 9), B: f32(5, 4), Out: f32(3, 4)}), 4 * (15 + 20 + 12)},
		{"gemm bytes, accumulate and bias", GemmBytes(Gemm{M: 3, N: 4, K: 5, A: f32(3, 5), B: f32(5, 4), Out: f32(3, 4), Bias: f32(4), Accumulate: true}), 4 * (15 + 20 + 24 + 4)},
		{"attention flops", AttentionFLOPs(seqs.Host, 2, 4), 4 * (4 + 9) * 8},
		{"attention backward flops", AttentionBackwardFLOPs(seqs.Host, 2, 4), 10 * (4 + 9) * 8},
		{"attention bytes", AttentionBytes(att), 4 * (120 + 40 + 10 + 3)},
		{"attention backward bytes", AttentionBackwardBytes(AttentionGrad{Attention: att, DOut: out, DQKV: qkv, Delta: lse}), 4 * (120 + 40 + 10 + 3 + 40 + 120 + 20)},
		{"cross-entropy flops", CrossEntropyFLOPs(2, 3, 10), 380},
		{"adamw bytes", AdamWBytes(&ParamTable{Entries: []ParamEntry{entry}}), 20 + 6*40 + 20 + 80},
		{"adamw bytes of a frozen entry", AdamWBytes(&ParamTable{Entries: []ParamEntry{frozen}}), 40 + 80},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, tt.got, tt.want)
		}
	}
}
