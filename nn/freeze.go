package nn

import "strings"

// FreezeBlocks freezes the first n blocks and returns the number of parameters that it froze. With embeddings it also
// freezes the tokens, the positions and the patch embedding; otherwise their gradients are still computed through the
// frozen blocks.
func (v *ViT) FreezeBlocks(n int, embeddings bool) int {
	return v.Params.Freeze(func(p *Param) bool {
		return p.Depth >= 1 && p.Depth <= min(n, len(v.Blocks)) || embeddings && p.Depth == 0
	})
}

// FreezeAll freezes every parameter, as of a teacher or a frozen backbone.
func (ps *Params) FreezeAll() int { return ps.Freeze(func(*Param) bool { return true }) }

// NamePrefix matches parameters whose name starts with prefix.
func NamePrefix(prefix string) func(*Param) bool {
	return func(p *Param) bool { return strings.HasPrefix(p.Name, prefix) }
}
