package ptx

import (
	"fmt"
	"math/bits"
)

// elect compiles elect.sync: one lane of the mask, always the same for the same mask, is chosen. Which one is not for
// the program to know, so the seed decides.
func (c *compiler) elect() error {
	if !c.has("sync") {
		return fmt.Errorf("want elect.sync")
	}
	if err := c.nargs(2); err != nil {
		return err
	}
	d, p, err := c.dstPair()
	if err != nil {
		return err
	}
	mask, err := c.src(c.in.Args[1])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		named := uint32(mask(w)[firstLane(m)])
		w.checkMask(named, m)
		leader := bits.TrailingZeros32(m)
		for skip := int(w.l.m.Seed % uint64(bits.OnesCount32(m))); skip > 0; skip-- {
			m2 := m &^ (2<<leader - 1)
			leader = bits.TrailingZeros32(m2)
		}
		each(m, func(l int) { w.regs[d][l] = uint64(leader) })
		w.preds[p] = w.preds[p]&^m | 1<<leader
	}
	return nil
}

// mapa compiles mapa: the address of a shared variable in another block of the cluster, of which there is none.
func (c *compiler) mapa() error {
	c.has("shared::cluster")
	if t := c.typ(); t != "u32" && t != "u64" {
		return fmt.Errorf("want .u32 or .u64")
	}
	d, s, err := c.operands(2)
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		a, rank := s[0](w), s[1](w)
		each(m, func(l int) {
			if uint32(rank[l]) != 0 {
				w.l.report(w, BadOperand, l, fmt.Sprintf("block %d of a cluster of one block", uint32(rank[l])))
				panic(abort{})
			}
			w.regs[d][l] = a[l]
		})
	}
	return nil
}
