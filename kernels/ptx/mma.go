package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
)

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
