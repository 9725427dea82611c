package ptx

import "fmt"

// predNot compiles not.pred.
func (c *compiler) predNot() error {
	if err := c.nargs(2); err != nil {
		return err
	}
	d, err := c.pdst(c.in.Args[0])
	if err != nil {
		return err
	}
	a, err := c.psrc(c.in.Args[1])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) { w.preds[d] = w.preds[d]&^m | ^a(w)&m }
	return nil
}

// predBinary compiles and.pred, or.pred and xor.pred.
func (c *compiler) predBinary() error {
	if err := c.nargs(3); err != nil {
		return err
	}
	d, err := c.pdst(c.in.Args[0])
	if err != nil {
		return err
	}
	a, err := c.psrc(c.in.Args[1])
	if err != nil {
		return err
	}
	b, err := c.psrc(c.in.Args[2])
	if err != nil {
		return err
	}
	var f func(a, b uint32) uint32
	switch c.in.Op {
	case "and":
		f = func(a, b uint32) uint32 { return a & b }
	case "or":
		f = func(a, b uint32) uint32 { return a | b }
	case "xor":
		f = func(a, b uint32) uint32 { return a ^ b }
	default:
		return fmt.Errorf("no such operation on predicates")
	}
	c.st.run = func(w *warp, m uint32) { w.preds[d] = w.preds[d]&^m | f(a(w), b(w))&m }
	return nil
}
