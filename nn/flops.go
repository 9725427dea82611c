package nn

// FLOPs counts the multiply-adds of a forward pass over one crop of height x width pixels, a multiply-add being two: for
// every block and T tokens 2·(4D² + 2·D·I)·T + 4·T²·D (3·D·I for a gated MLP), and 2·C·P²·D for every patch. Norms,
// activations, softmax and adapters are left out, as published figures leave them out. A backward pass counts twice as
// much.
func (c ViTConfig) FLOPs(height, width int) int64 {
	d := int64(c.Dim)
	mlp := 2 * d * int64(c.MLPDim)
	if c.Gated {
		mlp = 3 * d * int64(c.MLPDim)
	}
	patches := int64(height/c.PatchSize) * int64(width/c.PatchSize)
	n := patches + int64(c.Prefix())
	block := 2*(4*d*d+mlp)*n + 4*n*n*d
	return 2*patches*int64(c.Channels*c.PatchSize*c.PatchSize)*d + int64(c.Depth)*block
}

// FLOPs counts a forward pass of one row of width in through the head up to its bottleneck, in the same way. Its
// prototypes are not part of it.
func (c HeadConfig) FLOPs(in int) (total int64) {
	for i := range c.Layers {
		out := c.Hidden
		if i == c.Layers-1 {
			out = c.Bottleneck
		}
		total += 2 * int64(in) * int64(out)
		in = out
	}
	return total
}
