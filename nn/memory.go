package nn

// ActivationBytes returns the number of bytes that a training pass over l keeps in the tape's arena for the backward
// pass, including the tokens that it returns, when every parameter is trained. For every token and block these are
//
//	6·D   query, key and value, the attention output, and the two sums of the residual
//	I     the MLP's hidden layer before its activation (2·I when gated)
//	4+H   mean and reciprocal deviation of both norms, and the softmax denominator of every head
//	2     drop-path factors, where the block has any
//
// elements: the outputs of norms and activations are computed again in the backward pass. The first residual sum,
// which is the embedding, and the pixels of the patches are kept once. With checkpoint a block keeps its input alone.
// rows is the number of rows that are needed of the last block, negative for all.
func (v *ViT) ActivationBytes(l *Layout, rows int, checkpoint bool) int64 {
	c := v.Config
	d, all := int64(c.Dim), int64(l.Tokens)
	few := all
	if rows >= 0 {
		few = int64(rows)
	}
	hidden := int64(c.MLPDim)
	if c.Gated {
		hidden *= 2
	}
	size, stat := int64(v.dtype.Size()), int64(v.statType().Size())
	values := all*d + int64(l.Patches)*int64(c.Channels*c.PatchSize*c.PatchSize)
	stats := int64(0)
	factors := int64(0)
	for i := range v.Blocks {
		mixed := all // tokens from the output projection on
		if i == len(v.Blocks)-1 {
			mixed = few
		}
		drops := c.DropPath.rate(i, c.Depth) > 0
		if drops {
			factors += 2 * mixed
		}
		if checkpoint {
			values += mixed * d
			continue
		}
		values += all*4*d + mixed*(2*d+hidden)
		stats += all*(2+int64(c.Heads)) + mixed*2
		if rows >= 0 && i == len(v.Blocks)-1 {
			values += mixed * d // the chosen rows of the attention output
		}
	}
	// The final norm.
	values += few * d
	stats += few * 2
	return values*size + stats*stat + factors*4
}
