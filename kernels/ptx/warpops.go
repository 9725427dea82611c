package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// bar compiles bar.sync, bar.arrive, bar.warp.sync and their barrier.* spellings.
func (c *compiler) bar() error {
	if c.has("cluster") {
		return c.barrierCluster()
	}
	c.has("cta")
	c.has("aligned")
	c.st.kind = stepSync
	if c.has("warp") {
		c.has("sync")
		if err := c.nargs(1); err != nil {
			return err
		}
		a, err := c.src(c.in.Args[0])
		if err != nil {
			return err
		}
		c.st.sync = func(w *warp, m uint32) bool {
			w.checkMask(uint32(a(w)[bits.TrailingZeros32(m)]), m)
			w.syncLanes()
			w.pc++
			return true
		}
		return nil
	}
	wait := c.oneOf("sync", "arrive") == "sync"
	s, err := c.srcs(c.in.Args)
	if err != nil {
		return err
	}
	if len(s) < 1 || len(s) > 2 || !wait && len(s) != 2 {
		return fmt.Errorf("%d operands", len(s))
	}
	c.st.sync = func(w *warp, m uint32) bool {
		l := bits.TrailingZeros32(m)
		count := 0
		if len(s) == 2 {
			count = int(uint32(s[1](w)[l]))
		}
		return w.arrive(int(uint32(s[0](w)[l])), count, wait)
	}
	return nil
}

// checkMask compares the mask operand of a .sync instruction with the lanes that execute it.
func (w *warp) checkMask(named, m uint32) {
	if named&w.live != m {
		w.l.report(w, PartialMask, -1, fmt.Sprintf("the mask names lanes %#08x, lanes %#08x execute", named, m))
		panic(abort{})
	}
}

// dstPair is the destination d[|p]: a register and a predicate, which may be left out.
func (c *compiler) dstPair() (d, p int, err error) {
	to, q := c.in.Args[0], Operand{Kind: opSink}
	if to.Kind == opPair {
		to, q = to.Elems[0], to.Elems[1]
	}
	if d, err = c.dst(to); err != nil {
		return 0, 0, err
	}
	p, err = c.pdst(q)
	return d, p, err
}

// shfl exchanges registers between lanes: d[|p], a, b, c, mask.
func (c *compiler) shfl() error {
	if !c.has("sync") {
		return fmt.Errorf("only shfl.sync is supported")
	}
	mode := c.oneOf("up", "down", "bfly", "idx")
	if t := c.typ(); t != "b32" || mode == "" {
		return fmt.Errorf("want a mode and .b32")
	}
	if err := c.nargs(5); err != nil {
		return err
	}
	d, p, err := c.dstPair()
	if err != nil {
		return err
	}
	s, err := c.srcs(c.in.Args[1:])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		a, b, cc := *s[0](w), s[1](w), s[2](w)
		w.checkMask(uint32(s[3](w)[bits.TrailingZeros32(m)]), m)
		var ok uint32
		each(m, func(l int) {
			seg, clamp := int(cc[l]>>8&31), int(cc[l]&31)
			top := l&seg | clamp&^seg
			low := l & seg
			n := int(b[l] & 31)
			var j int
			var in bool
			switch mode {
			case "up":
				j = l - n
				in = j >= top
			case "down":
				j = l + n
				in = j <= top
			case "bfly":
				j = l ^ n
				in = j <= top
			case "idx":
				j = low | n&^seg
				in = j <= top
			}
			if !in {
				j = l
			} else {
				ok |= 1 << l
			}
			if !pick(m, j) {
				w.l.report(w, PartialMask, l, fmt.Sprintf("lane %d, which is read, does not take part", j))
			}
			w.regs[d][l] = a[j]
		})
		if p >= 0 {
			w.preds[p] = w.preds[p]&^m | ok
		}
	}
	return nil
}

// vote combines a predicate over the warp: all, any, uni or ballot.
func (c *compiler) vote() error {
	if !c.has("sync") {
		return fmt.Errorf("only vote.sync is supported")
	}
	mode := c.oneOf("all", "any", "uni", "ballot")
	t := c.typ()
	if err := c.nargs(3); err != nil {
		return err
	}
	a, err := c.psrc(c.in.Args[1])
	if err != nil {
		return err
	}
	mask, err := c.src(c.in.Args[2])
	if err != nil {
		return err
	}
	if mode == "ballot" {
		if t != "b32" {
			return fmt.Errorf("vote.ballot wants .b32")
		}
		d, err := c.dst(c.in.Args[0])
		if err != nil {
			return err
		}
		c.st.run = func(w *warp, m uint32) {
			w.checkMask(uint32(mask(w)[bits.TrailingZeros32(m)]), m)
			v := uint64(a(w) & m)
			each(m, func(l int) { w.regs[d][l] = v })
		}
		return nil
	}
	d, err := c.pdst(c.in.Args[0])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		w.checkMask(uint32(mask(w)[bits.TrailingZeros32(m)]), m)
		v := a(w) & m
		yes := false
		switch mode {
		case "all":
			yes = v == m
		case "any":
			yes = v != 0
		case "uni":
			yes = v == m || v == 0
		}
		w.preds[d] &^= m
		if yes {
			w.preds[d] |= m
		}
	}
	return nil
}

func (c *compiler) activemask() error {
	c.typ()
	if err := c.nargs(1); err != nil {
		return err
	}
	d, err := c.dst(c.in.Args[0])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) { each(m, func(l int) { w.regs[d][l] = uint64(m) }) }
	return nil
}

// redux reduces an integer over the warp.
func (c *compiler) redux() error {
	if !c.has("sync") {
		return fmt.Errorf("only redux.sync is supported")
	}
	op := c.oneOf("add", "min", "max", "and", "or", "xor")
	t := c.typ()
	if op == "" {
		return fmt.Errorf("no operation")
	}
	f, err := binaryOps[op](c, t)
	if err != nil {
		return err
	}
	d, s, err := c.operands(2)
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		a := s[0](w)
		w.checkMask(uint32(s[1](w)[bits.TrailingZeros32(m)]), m)
		first := bits.TrailingZeros32(m)
		v := a[first]
		each(m&^(1<<first), func(l int) { v = f(v, a[l]) })
		each(m, func(l int) { w.regs[d][l] = v })
	}
	return nil
}

// atom is a read-modify-write; red is the same without a result. Lanes go in order, blocks and warps in the
// random order of the schedule, so a result that depends on the order of float additions shows.
func (c *compiler) atom() error {
	space := c.oneOf("global", "shared")
	c.memMods()
	c.oneOf("acq_rel")
	op := c.oneOf("add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec")
	c.memMods()
	t := c.typ()
	_, size := class(t)
	if size == 0 {
		return unsupported(t)
	}
	args := c.in.Args
	d := -1
	var err error
	if c.in.Op == "atom" && len(args) > 0 {
		if d, err = c.dst(args[0]); err != nil {
			return err
		}
		args = args[1:]
	}
	if len(args) < 2 {
		return fmt.Errorf("%d operands", len(c.in.Args))
	}
	at, err := c.address(args[0])
	if err != nil {
		return err
	}
	s, err := c.srcs(args[1:])
	if err != nil {
		return err
	}
	var f func(old, v uint64) uint64
	switch op {
	case "exch":
		f = func(_, v uint64) uint64 { return v }
	case "cas":
		if len(s) != 2 {
			return fmt.Errorf("%d operands", len(c.in.Args))
		}
	case "inc":
		f = func(old, v uint64) uint64 {
			if old >= v {
				return 0
			}
			return old + 1
		}
	case "dec":
		f = func(old, v uint64) uint64 {
			if old == 0 || old > v {
				return v
			}
			return old - 1
		}
	case "":
		return fmt.Errorf("no operation")
	default:
		if f, err = binaryOps[op](c, t); err != nil {
			return err
		}
		if t == "f32" && space != "shared" {
			// Outside shared memory a sum of f32 flushes subnormals, without saying so (PTX ISA, atom).
			sum := f
			f = func(old, v uint64) uint64 { return flushF32(sum(flushF32(old), flushF32(v))) }
		}
	}
	c.st.run = func(w *warp, m uint32) {
		var a lanes
		at(w, &a)
		w.countAccess(space, &a, m, size)
		each(m, func(l int) {
			b := w.memory(space, a[l], size, l, accessAtomic)
			old := load(b, size, 0)
			v := truncate(s[0](w)[l], size)
			if op == "cas" {
				if old == v {
					store(b, s[1](w)[l], size)
				}
			} else {
				store(b, f(old, v), size)
			}
			if d >= 0 {
				w.regs[d][l] = old
			}
		})
	}
	return nil
}

// ldmatrix loads one, two or four 8x8 matrices of 16-bit elements: lane 8i+r gives the address of row r of
// matrix i, and lane l receives elements (l/4, 2·(l%4)) and the next of each matrix (transposed with .trans).
func (c *compiler) ldmatrix() error {
	if !c.has("sync") || !c.has("aligned") || !c.has("m8n8") {
		return fmt.Errorf("want .sync.aligned.m8n8")
	}
	n := map[string]int{"x1": 1, "x2": 2, "x4": 4}[c.oneOf("x1", "x2", "x4")]
	trans := c.has("trans")
	c.has("shared")
	if t := c.typ(); t != "b16" || n == 0 {
		return fmt.Errorf("want a count and .b16")
	}
	if err := c.nargs(2); err != nil {
		return err
	}
	ds, err := c.dsts(vector(c.in.Args[0]))
	if err != nil {
		return err
	}
	if len(ds) != n {
		return fmt.Errorf("%d destinations for .x%d", len(ds), n)
	}
	at, err := c.address(c.in.Args[1])
	if err != nil {
		return err
	}
	c.st.run = func(w *warp, m uint32) {
		w.wholeWarp(m)
		var a lanes
		at(w, &a)
		in := &w.l.counters.PerInstr[w.pc]
		for i := range n {
			var rows [8][]byte
			var phase lanes
			for r := range 8 {
				l := 8*i + r
				rows[r] = w.memory("shared", a[l], 16, l, accessRead)
				phase[r] = a[l]
			}
			in.Wavefronts += bankCycles(&phase, 0xff, 16)
			in.IdealWavefronts++
			for l := range 32 {
				r, col := l/4, 2*(l%4)
				var lo, hi uint16
				if trans {
					lo = binary.LittleEndian.Uint16(rows[col][2*r:])
					hi = binary.LittleEndian.Uint16(rows[col+1][2*r:])
				} else {
					lo = binary.LittleEndian.Uint16(rows[r][2*col:])
					hi = binary.LittleEndian.Uint16(rows[r][2*col+2:])
				}
				w.regs[ds[i]][l] = uint64(lo) | uint64(hi)<<16
			}
		}
	}
	return nil
}

// stmatrix is the inverse of ldmatrix.
func (c *compiler) stmatrix() error {
	if !c.has("sync") || !c.has("aligned") || !c.has("m8n8") {
		return fmt.Errorf("want .sync.aligned.m8n8")
	}
	n := map[string]int{"x1": 1, "x2": 2, "x4": 4}[c.oneOf("x1", "x2", "x4")]
	trans := c.has("trans")
	c.has("shared")
	if t := c.typ(); t != "b16" || n == 0 {
		return fmt.Errorf("want a count and .b16")
	}
	if err := c.nargs(2); err != nil {
		return err
	}
	at, err := c.address(c.in.Args[0])
	if err != nil {
		return err
	}
	s, err := c.srcs(vector(c.in.Args[1]))
	if err != nil {
		return err
	}
	if len(s) != n {
		return fmt.Errorf("%d sources for .x%d", len(s), n)
	}
	c.st.run = func(w *warp, m uint32) {
		w.wholeWarp(m)
		var a lanes
		at(w, &a)
		in := &w.l.counters.PerInstr[w.pc]
		for i := range n {
			var rows [8][]byte
			var phase lanes
			for r := range 8 {
				l := 8*i + r
				rows[r] = w.memory("shared", a[l], 16, l, accessWrite)
				phase[r] = a[l]
			}
			in.Wavefronts += bankCycles(&phase, 0xff, 16)
			in.IdealWavefronts++
			x := s[i](w)
			for l := range 32 {
				r, col := l/4, 2*(l%4)
				if trans {
					binary.LittleEndian.PutUint16(rows[col][2*r:], uint16(x[l]))
					binary.LittleEndian.PutUint16(rows[col+1][2*r:], uint16(x[l]>>16))
				} else {
					binary.LittleEndian.PutUint16(rows[r][2*col:], uint16(x[l]))
					binary.LittleEndian.PutUint16(rows[r][2*col+2:], uint16(x[l]>>16))
				}
			}
		}
	}
	return nil
}

// wholeWarp checks that an .aligned instruction is executed by all 32 lanes.
func (w *warp) wholeWarp(m uint32) {
	if m != fullMask {
		w.l.report(w, PartialMask, -1, fmt.Sprintf("only lanes %#08x execute", m))
		panic(abort{})
	}
}

// mma is the warp-wide product d = a·b + c, shape m16n8k16 (bf16) or m16n8k8 (bf16, tf32), f32 accumulation.
// The sum runs over k in order in float32; hardware adds in another order, which tests allow for.
func (c *compiler) mma() error {
	if !c.has("sync") || !c.has("aligned") {
		return fmt.Errorf("want .sync.aligned")
	}
	shape := c.oneOf("m16n8k16", "m16n8k8")
	if !c.has("row") || !c.has("col") {
		return fmt.Errorf("want .row.col")
	}
	var ts []string
	for t := c.typ(); t != ""; t = c.typ() {
		ts = append(ts, t)
	}
	tf32 := c.has("tf32")
	for c.has("tf32") {
	}
	k := map[string]int{"m16n8k16": 16, "m16n8k8": 8}[shape]
	if k == 0 || tf32 && k != 8 || !tf32 && (len(ts) != 4 || ts[0] != "f32" || ts[1] != "bf16" || ts[2] != "bf16" || ts[3] != "f32") {
		return fmt.Errorf("this shape and these types are not supported")
	}
	if err := c.nargs(4); err != nil {
		return err
	}
	ds, err := c.dsts(vector(c.in.Args[0]))
	if err != nil {
		return err
	}
	a, err := c.srcs(vector(c.in.Args[1]))
	if err != nil {
		return err
	}
	b, err := c.srcs(vector(c.in.Args[2]))
	if err != nil {
		return err
	}
	acc, err := c.srcs(vector(c.in.Args[3]))
	if err != nil {
		return err
	}
	per := k / 4 // registers of a
	if tf32 {
		per = 4
	}
	if len(ds) != 4 || len(acc) != 4 || len(a) != per || len(b) != per/2 {
		return fmt.Errorf("wrong number of registers")
	}
	c.st.run = func(w *warp, m uint32) {
		w.wholeWarp(m)
		var ma [16][16]float32
		var mb [16][8]float32 // by k, then n
		if tf32 {
			fragmentsTF32(&ma, &mb, w, a, b)
		} else {
			fragmentsBF16(&ma, &mb, w, a, b)
		}
		var mc [16][8]float32
		for l := range 32 {
			g, t := l/4, 2*(l%4)
			mc[g][t], mc[g][t+1] = f32(acc[0](w)[l]), f32(acc[1](w)[l])
			mc[g+8][t], mc[g+8][t+1] = f32(acc[2](w)[l]), f32(acc[3](w)[l])
		}
		for i := range 16 {
			row := &mc[i]
			for kk := 0; kk < k; kk++ {
				x, bb := ma[i][kk], &mb[kk]
				row[0] += x * bb[0]
				row[1] += x * bb[1]
				row[2] += x * bb[2]
				row[3] += x * bb[3]
				row[4] += x * bb[4]
				row[5] += x * bb[5]
				row[6] += x * bb[6]
				row[7] += x * bb[7]
			}
		}
		for l := range 32 {
			g, t := l/4, 2*(l%4)
			w.regs[ds[0]][l], w.regs[ds[1]][l] = bf32(mc[g][t]), bf32(mc[g][t+1])
			w.regs[ds[2]][l], w.regs[ds[3]][l] = bf32(mc[g+8][t]), bf32(mc[g+8][t+1])
		}
	}
	return nil
}

// fragmentsBF16 gathers the operand fragments: register r of a holds row l/4 + 8·(r%2), columns
// 2·(l%4) + 8·(r/2) and the next; register r of b holds rows 2·(l%4) + 8r and the next of column l/4.
func fragmentsBF16(ma *[16][16]float32, mb *[16][8]float32, w *warp, a, b []source) {
	for r, s := range a {
		x := s(w)
		for l := range 32 {
			row, col := l/4+8*(r%2), 2*(l%4)+8*(r/2)
			ma[row][col], ma[row][col+1] = bf16(x[l]), bf16(x[l]>>16)
		}
	}
	for r, s := range b {
		x := s(w)
		for l := range 32 {
			k := 2*(l%4) + 8*r
			mb[k][l/4], mb[k+1][l/4] = bf16(x[l]), bf16(x[l]>>16)
		}
	}
}

// fragmentsTF32 is the same for m16n8k8 tf32: a register r holds row l/4 + 8·(r%2), column l%4 + 4·(r/2).
func fragmentsTF32(ma *[16][16]float32, mb *[16][8]float32, w *warp, a, b []source) {
	tf := func(v uint64) float32 { return math.Float32frombits(uint32(v) &^ 0x1fff) }
	for r, s := range a {
		x := s(w)
		for l := range 32 {
			ma[l/4+8*(r%2)][l%4+4*(r/2)] = tf(x[l])
		}
	}
	for r, s := range b {
		x := s(w)
		for l := range 32 {
			mb[l%4+4*r][l/4] = tf(x[l])
		}
	}
}
