package ptx

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// touchMatrixRegisters notes an access to registers of matrix products by another instruction.
func (w *warp) touchMatrixRegisters(regs []int) {
	for _, r := range regs {
		if p := w.mma.owner[r]; p != nil && !w.l.reported(w, AsyncRegister) {
			w.l.report(w, AsyncRegister, -1, fmt.Sprintf("register %s is in use by line %d (%s) until wgmma.wait_group", w.p.regName(r), p.op.in.Line, p.op.in.Text))
		}
		w.mma.dirty[r] = true
	}
}

// wgmma compiles wgmma.fence, commit_group, wait_group and mma_async.
func (c *compiler) wgmma() error {
	op := c.oneOf("fence", "commit_group", "wait_group", "mma_async")
	if !c.has("sync") || !c.has("aligned") {
		return fmt.Errorf("want .sync.aligned")
	}
	c.st.kind = stepSync
	switch op {
	case "fence":
		c.st.sync = func(w *warp, m uint32) bool {
			w.wholeGroup(m)
			clear(w.mma.dirty)
			w.pc++
			return true
		}
		return c.nargs(0)
	case "commit_group":
		c.st.sync = func(w *warp, m uint32) bool {
			w.wholeGroup(m)
			w.mma.groups = append(w.mma.groups, w.mma.open)
			w.mma.open = nil
			w.pc++
			return true
		}
		return c.nargs(0)
	case "wait_group":
		n, err := c.groupCount()
		if err != nil {
			return err
		}
		c.st.sync = func(w *warp, m uint32) bool {
			w.wholeGroup(m)
			return w.waitProducts(n)
		}
		return nil
	case "mma_async":
		return c.mmaAsync()
	}
	return fmt.Errorf("the operation is not known to the interpreter")
}

// wholeGroup checks that a warp is whole and belongs to a whole warpgroup.
func (w *warp) wholeGroup(m uint32) {
	w.wholeWarp(m)
	if first := w.id &^ 3; first+4 > len(w.l.warps) {
		w.l.report(w, BadWarpgroup, -1, fmt.Sprintf("warps %d to %d are a warpgroup, but the block has only %d warps", first, first+3, len(w.l.warps)))
		panic(abort{})
	}
}

func (c *compiler) mmaAsync() error {
	shape := ""
	for _, m := range c.in.Mods {
		if strings.HasPrefix(m, "m64n") {
			shape = m
		}
	}
	c.has(shape)
	n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(shape, "m64n"), "k16"))
	if err != nil || n < 8 || n > 256 || n%8 != 0 || !strings.HasSuffix(shape, "k16") {
		return fmt.Errorf("shape %q, want .m64nNk16 with N a multiple of 8 up to 256", shape)
	}
	if d, a, b := c.typ(), c.typ(), c.typ(); d != "f32" || a != "bf16" || b != "bf16" {
		return fmt.Errorf("want .f32.bf16.bf16")
	}
	args := c.in.Args
	if len(args) < 7 {
		return fmt.Errorf("%d operands", len(args))
	}
	op := &productOp{in: c.in, n: n}
	if op.d, err = c.dsts(vector(args[0])); err != nil {
		return err
	}
	if len(op.d) != n/2 {
		return fmt.Errorf("%d accumulators, want %d", len(op.d), n/2)
	}
	var descA source
	if args[1].Kind == syntax.VectorOperand {
		for _, o := range args[1].Elems {
			if _, err := c.src(o); err != nil || o.Kind != syntax.RegOperand {
				return fmt.Errorf("a wants registers")
			}
			op.a = append(op.a, c.slot[o.Reg])
		}
		if len(op.a) != 4 {
			return fmt.Errorf("%d registers of a, want 4", len(op.a))
		}
	} else if descA, err = c.src(args[1]); err != nil {
		return err
	}
	descB, err := c.src(args[2])
	if err != nil {
		return err
	}
	add, err := c.psrc(args[3])
	if err != nil {
		return err
	}
	want := 8
	if op.a != nil {
		want = 7
	}
	if err := c.nargs(want); err != nil {
		return err
	}
	for i, o := range args[4:] {
		v := int32(o.Imm)
		switch {
		case o.Kind != syntax.ImmOperand || i < 2 && v != 1 && v != -1 || i >= 2 && v != 0 && v != 1:
			return fmt.Errorf("operand %d: want a literal 1 or -1 (scale) or 0 or 1 (transpose)", 5+i)
		case i < 2:
			op.negate = op.negate != (v < 0)
		case i == want-5:
			op.transB = v == 1
		default:
			op.transA = v == 1
		}
	}
	c.st.product = op
	// Accumulators are written when the product is waited for, and read only if scale-d is true.
	c.st.writes = nil
	c.st.sync = func(w *warp, m uint32) bool {
		w.wholeGroup(m)
		p := &product{op: op}
		if p.add = add(w) != 0; p.add && add(w)&m != m {
			w.l.report(w, BadOperand, -1, "scale-d differs between the lanes")
		}
		var err error
		if descA != nil {
			p.rawA = w.uniform(descA(w))
			p.a, err = decodeDescriptor(p.rawA)
		}
		if err == nil {
			p.rawB = w.uniform(descB(w))
			p.b, err = decodeDescriptor(p.rawB)
		}
		if err != nil {
			w.l.report(w, BadOperand, -1, err.Error())
			panic(abort{})
		}
		w.issue(p)
		w.pc++
		return true
	}
	return nil
}

// uniform is the value of an operand that must be the same in all lanes.
func (w *warp) uniform(x *lanes) uint64 {
	for l := range x {
		if x[l] != x[0] {
			w.l.report(w, BadOperand, l, fmt.Sprintf("the matrix descriptor is %#x, that of lane 0 is %#x", x[l], x[0]))
			panic(abort{})
		}
	}
	return x[0]
}

// issue asks for a product in the name of one warp: its share of the operands must be there and its registers fenced.
func (w *warp) issue(p *product) {
	l, s, op := w.l, w.l.shared, p.op
	g := l.warpgroups[w.id/4]
	if w.mma.issued == len(g.products) {
		p.read = l.newRead(op.in)
		g.products = append(g.products, p)
	} else {
		first := g.products[w.mma.issued]
		if first == nil || first.op != op || first.rawA != p.rawA || first.rawB != p.rawB || first.add != p.add {
			l.report(w, BadWarpgroup, -1, fmt.Sprintf("product %d of the warpgroup is another instruction or has other descriptors or scale-d in another warp", w.mma.issued))
			panic(abort{})
		}
		p = first
	}
	w.mma.issued++
	p.issued |= 1 << (w.id % 4)
	w.mma.open = append(w.mma.open, p)

	use := func(_, _ int, addr uint64) {
		if !s.inBounds(addr, 16) {
			l.report(w, OutOfBounds, -1, fmt.Sprintf("the matrix descriptor reaches byte %d of %d bytes of shared memory", int64(addr)-sharedStart, len(s.data)))
			panic(abort{})
		}
		s.readAsync(w, -1, addr-sharedStart, 16)
		s.markInUse(w.id/4, p.read, addr-sharedStart, 16)
	}
	if op.a == nil {
		row := 16 * (w.id % 4)
		p.a.each(op.transA, row, row+16, use)
	}
	p.b.each(op.transB, 0, op.n, use)

	for _, r := range op.d {
		q := w.mma.owner[r]
		if (w.mma.dirty[r] || q != nil && q.op.n != op.n) && !l.reported(w, MissingFence) {
			l.report(w, MissingFence, -1, fmt.Sprintf("accumulator %s was touched with no wgmma.fence since", w.p.regName(r)))
		}
		if p.add && w.init[r] != fullMask && q == nil {
			l.report(w, Uninitialised, bits.TrailingZeros32(^w.init[r]), "accumulator "+w.p.regName(r)+" was never written")
		}
		w.mma.owner[r] = p
	}
	for _, r := range op.a {
		if q := w.mma.owner[r]; w.mma.dirty[r] || q != nil && !slices.Contains(q.op.a, r) {
			l.report(w, MissingFence, -1, fmt.Sprintf("register %s of a was touched with no wgmma.fence since", w.p.regName(r)))
		}
		w.mma.owner[r] = p
	}
}

// waitProducts takes the results of all but the n youngest groups. It reports false when it has to wait for warps of
// the group that have not asked for these products yet.
func (w *warp) waitProducts(n int) bool {
	late := func() *product {
		for i := 0; i < len(w.mma.groups)-n; i++ {
			for _, p := range w.mma.groups[i] {
				if p.issued != 15 {
					return p
				}
			}
		}
		return nil
	}
	if late() != nil {
		w.blocked = func() bool { return late() == nil }
		w.why = func() string {
			p := late()
			return fmt.Sprintf("the warps %s of the warpgroup to execute line %d", warpsMissing(p.issued, w.id&^3), p.op.in.Line)
		}
		return false
	}
	w.why = nil
	for len(w.mma.groups) > n {
		for _, p := range w.mma.groups[0] {
			w.take(p)
		}
		w.mma.groups = w.mma.groups[1:]
	}
	w.pc++
	return true
}

func warpsMissing(issued uint8, first int) string {
	s := ""
	for i := range 4 {
		if issued>>i&1 == 0 {
			s += fmt.Sprintf("%d ", first+i)
		}
	}
	return strings.TrimSpace(s)
}

// take adds the warp's sixteen rows of a finished product to its accumulators.
func (w *warp) take(p *product) {
	op := p.op
	if p.mb == nil {
		p.readOperands(w.l.shared)
	}
	w.readDone(p.read, -1)
	ma := p.ma
	if op.a == nil {
		ma = ma[16*16*(w.id%4):][:16*16]
	} else {
		ma = make([]float32, 16*16)
		for i, r := range op.a {
			x := &w.regs[r]
			for l := range 32 {
				row, col := l/4+8*(i%2), 2*(l%4)+8*(i/2)
				ma[16*row+col], ma[16*row+col+1] = bf16(x[l]), bf16(x[l]>>16)
			}
		}
	}
	acc := make([]float32, 16*op.n)
	if p.add {
		for i, r := range op.d {
			x := &w.regs[r]
			at := 8*(i/4) + i%2 + i/2%2*8*op.n
			for l := range 32 {
				acc[at+l/4*op.n+2*(l%4)] = f32(x[l])
			}
		}
	}
	if op.negate {
		ma = append([]float32(nil), ma...)
		for i := range ma {
			ma[i] = -ma[i]
		}
	}
	multiply(acc, ma, p.mb, op.n)
	for i, r := range op.d {
		x := &w.regs[r]
		at := 8*(i/4) + i%2 + i/2%2*8*op.n
		for l := range 32 {
			x[l] = bf32(acc[at+l/4*op.n+2*(l%4)])
		}
		w.init[r] = fullMask
		if w.mma.owner[r] == p {
			w.mma.owner[r] = nil
		}
	}
	for _, r := range op.a {
		if w.mma.owner[r] == p {
			w.mma.owner[r] = nil
		}
	}
	if p.finished |= 1 << (w.id % 4); p.finished == 15 {
		p.ma, p.mb = nil, nil
	}
}

// multiply adds a [16][16] times b [16][n] to acc [16][n]. n is a multiple of 8.
func multiply(acc, a, b []float32, n int) {
	for r := range 16 {
		row := acc[r*n:][:n]
		for k := range 16 {
			x := a[16*r+k]
			y := b[k*n:][:n]
			for j := 0; j+8 <= len(row) && j+8 <= len(y); j += 8 {
				d, s := row[j:j+8:j+8], y[j:j+8:j+8]
				d[0] += x * s[0]
				d[1] += x * s[1]
				d[2] += x * s[2]
				d[3] += x * s[3]
				d[4] += x * s[4]
				d[5] += x * s[5]
				d[6] += x * s[6]
				d[7] += x * s[7]
			}
		}
	}
}

// readOperands reads the tiles from shared memory.
func (p *product) readOperands(s *shared) {
	n := p.op.n
	p.mb = make([]float32, 16*n)
	p.b.each(p.op.transB, 0, n, func(i, c int, addr uint64) {
		x := s.data[addr-sharedStart:][:16]
		for j := range 8 {
			v := bf16(uint64(binary.LittleEndian.Uint16(x[2*j:])))
			if p.op.transB {
				p.mb[i*n+8*c+j] = v
			} else {
				p.mb[(8*c+j)*n+i] = v
			}
		}
	})
	if p.op.a != nil {
		return
	}
	p.ma = make([]float32, 64*16)
	p.a.each(p.op.transA, 0, 64, func(i, c int, addr uint64) {
		x := s.data[addr-sharedStart:][:16]
		for j := range 8 {
			v := bf16(uint64(binary.LittleEndian.Uint16(x[2*j:])))
			if p.op.transA {
				p.ma[(8*c+j)*16+i] = v
			} else {
				p.ma[i*16+8*c+j] = v
			}
		}
	})
}

// finishMatrix checks that a warp that ends has taken all its products.
func (w *warp) finishMatrix() {
	for _, group := range append(w.mma.groups, w.mma.open) {
		for _, p := range group {
			w.l.at = p.op.in
			w.l.report(w, AsyncRegister, -1, "the warp ends with the product in flight")
			w.l.at = nil
		}
	}
	w.mma.groups, w.mma.open = nil, nil
}

// check reports products that not all four warps have asked for.
func (g *warpgroup) check(l *launch, index int) {
	for _, p := range g.products {
		if p.issued != 15 {
			l.at = p.op.in
			l.report(l.warps[4*index], BadWarpgroup, -1, fmt.Sprintf("warps %s of the warpgroup did not execute it", warpsMissing(p.issued, 4*index)))
			l.at = nil
		}
	}
}
