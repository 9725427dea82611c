package ptx

import "fmt"

// boxPieces lists the pieces of the box of t at coordinates at, the contiguous one first, whose shared memory begins at
// shared address dst (in the window that starts at sharedStart).
func (t *tensorMap) boxPieces(at [5]int, dst uint64) []piece {
	per := 16 / t.elem // elements of a piece
	rows := 1
	for d := 1; d < t.rank; d++ {
		rows *= t.box[d]
	}
	inner := t.box[0] * t.elem
	pieces := make([]piece, 0, rows*inner/16)
	for r := range rows {
		inside := true
		src := t.addr
		rest := r
		for d := 1; d < t.rank; d++ {
			x := at[d] + rest%t.box[d]
			rest /= t.box[d]
			inside = inside && x >= 0 && x < t.dims[d]
			src += uint64(x * t.strides[d])
		}
		for c := 0; c < t.box[0]; c += per {
			p := piece{off: swizzled(dst+uint64(r*inner+c*t.elem), t.swizzle) - sharedStart}
			first, last := at[0]+c, at[0]+c+per
			if lo, hi := max(first, 0), min(last, t.dims[0]); inside && lo < hi {
				p.src = src + uint64(lo*t.elem)
				p.skip, p.n = uint8((lo-first)*t.elem), uint8((hi-lo)*t.elem)
			}
			pieces = append(pieces, p)
		}
	}
	return pieces
}

// tensorMap reads and checks the map at a generic address: in the parameter space or in global memory.
func (w *warp) tensorMap(addr uint64, lane, rank int) *tensorMap {
	w.aligned(addr, 64, lane)
	t, err := decodeTensorMap(w.access("", addr, 128, lane, accessRead))
	switch {
	case err != nil:
		w.l.report(w, BadOperand, lane, err.Error())
	case rank != 0 && t.rank != rank:
		w.l.report(w, BadOperand, lane, fmt.Sprintf("the tensor map has %d dimensions, the instruction %d", t.rank, rank))
	case t.swizzle != 0 && t.box[0]*t.elem != t.swizzle:
		w.l.report(w, BadOperand, lane, fmt.Sprintf("a row of the box has %d bytes; only boxes as wide as their swizzle (%d bytes) are supported", t.box[0]*t.elem, t.swizzle))
	default:
		return t
	}
	panic(abort{})
}

// prefetch compiles prefetch, which has no effect on results; a tensor map must be one.
func (c *compiler) prefetch() error {
	if !c.has("tensormap") {
		return c.nop()
	}
	space := c.oneOf("param", "const")
	if err := c.nargs(1); err != nil {
		return err
	}
	at, err := c.address(c.in.Args[0])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		var a lanes
		at(w, &a)
		each(m, func(l int) {
			if space == "param" {
				a[l] += paramWindow
			}
			w.tensorMap(a[l], l, 0)
		})
	}
	return nil
}
