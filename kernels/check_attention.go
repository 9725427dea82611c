package kernels

import (
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// CheckAttention checks Attention: QKV [T, 3·Heads·d], Out [T, Heads·d] of its type, LSE nil or a statistic
// [Heads, T], and the sequences.
func CheckAttention(a Attention) {
	const op = "Attention"
	rows, inner := checkQKV(op, &a)
	mustType(op, "Out", a.Out, "QKV", a.QKV)
	mustMatrix(op, "Out", a.Out, rows, inner, "QKV", a.QKV)
	if a.LSE != nil {
		mustStat(op, "LSE", a.LSE, a.Heads*rows, "QKV", a.QKV)
	}
}

// CheckAttentionBackward checks AttentionBackward: what Attention asks, LSE and Delta [Heads, T], DOut like Out,
// DQKV like QKV.
func CheckAttentionBackward(a AttentionGrad) {
	const op = "AttentionBackward"
	rows, inner := checkQKV(op, &a.Attention)
	mustType(op, "Out", a.Out, "QKV", a.QKV)
	mustMatrix(op, "Out", a.Out, rows, inner, "QKV", a.QKV)
	mustLike(op, "DOut", a.DOut, "Out", a.Out)
	mustLike(op, "DQKV", a.DQKV, "QKV", a.QKV)
	mustStat(op, "LSE", a.LSE, a.Heads*rows, "QKV", a.QKV)
	mustStat(op, "Delta", a.Delta, a.Heads*rows, "QKV", a.QKV)
}

// CheckAttentionRows checks AttentionRows: queries i32 [Q], probs [Q, Heads, MaxLen] of QKV's type or f32. Out and
// LSE are not looked at.
func CheckAttentionRows(probs, queries *tensor.Tensor, a Attention) {
	const op = "AttentionRows"
	checkQKV(op, &a)
	if queries == nil {
		isNil(op, "queries")
	}
	mustIndex(op, "queries", queries, queries.Len(), "QKV", a.QKV)
	mustParamType(op, "probs", probs, "QKV", a.QKV)
	mustMatrix(op, "probs", probs, queries.Len()*a.Heads, a.Seqs.MaxLen, "queries", queries)
}

// checkQKV returns the number of tokens and Heads·d.
func checkQKV(op string, a *Attention) (rows, inner int) {
	mustWork(op, "QKV", a.QKV)
	rows, cols := Matrix(a.QKV)
	if a.Heads <= 0 || cols%(3*a.Heads) != 0 {
		panic(fmt.Sprintf("kernels: %s: QKV %s does not split into q, k, v of %d heads", op, describe(a.QKV), a.Heads))
	}
	s := &a.Seqs
	mustIndex(op, "Seqs.Starts", s.Starts, len(s.Host), "QKV", a.QKV)
	n := len(s.Host) - 1
	if n < 0 || s.Host[0] != 0 || int(s.Host[n]) != rows {
		panic(fmt.Sprintf("kernels: %s: Seqs.Host %v does not run from 0 to the rows of QKV %s", op, append([]int32(nil), s.Host...), describe(a.QKV)))
	}
	longest := 0
	for i := 0; i < n; i++ {
		d := int(s.Host[i+1] - s.Host[i])
		if d < 0 {
			panic(fmt.Sprintf("kernels: %s: Seqs.Host descends at %d, with Starts %s and QKV %s", op, i, describe(s.Starts), describe(a.QKV)))
		}
		longest = max(longest, d)
	}
	if longest != s.MaxLen {
		panic(fmt.Sprintf("kernels: %s: Seqs.MaxLen is %d, the longest of %s in QKV %s is %d", op, s.MaxLen, describe(s.Starts), describe(a.QKV), longest))
	}
	return rows, cols / 3
}

// CheckRoPE checks RoPE: qkv [T, 3·heads·d] with d even; cos and sin statistics [R, d/2]; index i32 [T].
func CheckRoPE(qkv, cos, sin, index *tensor.Tensor, heads int) {
	const op = "RoPE"
	mustWork(op, "qkv", qkv)
	rows, cols := Matrix(qkv)
	if heads <= 0 || cols%(6*heads) != 0 {
		panic(fmt.Sprintf("kernels: RoPE: qkv %s does not split into q, k, v of %d heads of an even size", describe(qkv), heads))
	}
	half := cols / (6 * heads)
	mustIndex(op, "index", index, rows, "qkv", qkv)
	if cos == nil {
		isNil(op, "cos")
	}
	r, _ := Matrix(cos)
	mustStat(op, "cos", cos, r*half, "qkv", qkv)
	mustMatrix(op, "cos", cos, r, half, "qkv", qkv)
	mustLike(op, "sin", sin, "cos", cos)
}
