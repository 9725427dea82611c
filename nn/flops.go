package nn

import "github.com/dino-mx/dmx/kernels"

// FLOPs counts the multiply-adds of one forward pass, a multiply-add being two: for every block and crop of T
// tokens 2·(4D² + 2·D·I)·T + 4·T²·D (3·D·I for a gated MLP), and 2·C·P²·D for every patch. Norms, activations,
// softmax and adapters are left out, as published figures leave them out. A backward pass counts twice as much.
//
// model is the count for all tokens, the one that figures of different programs are compared by. done is what is
// left when only rows tokens of the last block are wanted (Options.Rows; negative for all).
func (v *ViT) FLOPs(l *Layout, rows int) (model, done int64) {
	c := v.Config
	width := 2
	if c.Gated {
		width = 3
	}
	inner := func(tokens int) int64 { // the output projection and the MLP
		return kernels.GemmFLOPs(tokens, c.Dim, c.Dim) + int64(width)*kernels.GemmFLOPs(tokens, c.Dim, c.MLPDim)
	}
	block := kernels.GemmFLOPs(l.Tokens, 3*c.Dim, c.Dim) + inner(l.Tokens) +
		kernels.AttentionFLOPs(l.Seqs.Host, c.Heads, c.Dim/c.Heads)
	model = int64(c.Depth)*block + kernels.GemmFLOPs(l.Patches, c.Dim, c.Channels*c.PatchSize*c.PatchSize)
	done = model
	if rows >= 0 && rows < l.Tokens {
		done -= inner(l.Tokens) - inner(rows)
	}
	return model, done
}

// FLOPs counts one forward pass of the head over rows, logits included, in the same way.
func (h *Head) FLOPs(rows int) int64 {
	n := kernels.GemmFLOPs(rows, h.Config.Prototypes, h.Config.Bottleneck)
	for _, l := range h.MLP {
		n += kernels.GemmFLOPs(rows, l.W.Dim(0), l.W.Dim(1))
	}
	return n
}
