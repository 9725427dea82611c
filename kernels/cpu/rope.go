package cpu

import (
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu/vec"
	"github.com/dino-mx/dmx/tensor"
)

type ropeOp struct {
	qkv      matrix
	cos, sin []float32
	index    []int32
	heads, d int
	sign     float32
}

// RoPE rotates q and k of qkv in place.
func (b *Backend) RoPE(qkv, cos, sin, index *tensor.Tensor, heads int, inverse bool) {
	kernels.CheckRoPE(qkv, cos, sin, index, heads)
	o := ropeOp{qkv: asMatrix(qkv), cos: cos.F32(), sin: sin.F32(), index: index.I32(), heads: heads, sign: 1}
	o.d = o.qkv.cols / (3 * heads)
	if inverse {
		o.sign = -1
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops.rope = o
	b.run(&b.ops.rope, o.qkv.rows, rowGrain(o.qkv.cols))
}

func (o *ropeOp) do(w *worker, lo, hi int) {
	half, qk := o.d/2, 2*o.heads*o.d
	for t := lo; t < hi; t++ {
		i := int(o.index[t])
		if i < 0 {
			continue
		}
		cos, sin := o.cos[i*half:(i+1)*half], o.sin[i*half:(i+1)*half]
		x := o.qkv.part(w, 0, t, 0, qk)
		for h := 0; h < qk; h += o.d {
			vec.Rotate(x[h:h+half], x[h+half:h+o.d], cos, sin, o.sign)
		}
		o.qkv.donePart(t, 0, qk, x)
	}
}
