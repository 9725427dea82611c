package ptx

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
)

// address compiles [base + offset] into a function that yields the 32 byte addresses.
func (c *compiler) address(o Operand) (func(w *warp, out *lanes), error) {
	if o.Kind != opAddr {
		return nil, fmt.Errorf("operand is not an address")
	}
	if o.Reg >= 0 {
		r := c.slot[o.Reg]
		wide := typeSizes[c.k.regs[o.Reg].typ] == 8
		c.st.reads = append(c.st.reads, r)
		off := o.Imm
		return func(w *warp, out *lanes) {
			x := &w.regs[r]
			for l := range out {
				out[l] = x[l] + off
				if !wide {
					out[l] &= fullMask
				}
			}
		}, nil
	}
	v := uint64(0)
	if o.Name != "" {
		var err error
		if v, err = c.symbol(o.Name); err != nil {
			return nil, err
		}
	}
	k := constant(v + o.Imm)
	return func(_ *warp, out *lanes) { *out = *k }, nil
}

// vectorWidth consumes .v2 or .v4.
func (c *compiler) vectorWidth() int {
	switch c.oneOf("v2", "v4") {
	case "v2":
		return 2
	case "v4":
		return 4
	}
	return 1
}

// memMods consumes cache and ordering hints, which change no result.
func (c *compiler) memMods() {
	for c.oneOf("nc", "volatile", "relaxed", "weak", "acquire", "release", "cg", "ca", "cs", "cv", "lu", "wb", "wt", "gpu", "cta", "sys",
		"L1::no_allocate", "L1::evict_last", "L1::evict_first", "L2::128B", "L2::256B", "L2::cache_hint") != "" {
	}
}

func (c *compiler) ld() error {
	space := c.oneOf("global", "shared", "local", "param", "const")
	c.memMods()
	n := c.vectorWidth()
	t := c.typ()
	_, size := class(t)
	if size == 0 {
		return unsupported(t)
	}
	if err := c.nargs(2); err != nil {
		return err
	}
	ds, err := c.dsts(vector(c.in.Args[0]))
	if err != nil {
		return err
	}
	if len(ds) != n {
		return fmt.Errorf("%d destinations for .v%d", len(ds), n)
	}
	at, err := c.address(c.in.Args[1])
	if err != nil {
		return err
	}
	// A signed value is extended by its sign to the width of its register.
	signed := 0
	if strings.HasPrefix(t, "s") {
		signed = 4
		for _, o := range vector(c.in.Args[0]) {
			if o.Kind == opReg {
				signed = max(signed, c.regSize(o))
			}
		}
	}
	if space == "param" {
		c.st.run = func(w *warp, m uint32) {
			var a lanes
			at(w, &a)
			each(m, func(l int) {
				for i, d := range ds {
					o := a[l] - w.p.k.paramStart + uint64(i*size)
					if !fits(o, size, len(w.l.params)) {
						w.l.report(w, OutOfBounds, l, fmt.Sprintf("byte %d of %d bytes of parameters", o, len(w.l.params)))
						panic(abort{})
					}
					w.regs[d][l] = load(w.l.params[o:], size, signed)
				}
			})
		}
		return nil
	}
	c.st.run = func(w *warp, m uint32) {
		var a lanes
		at(w, &a)
		w.countAccess(space, &a, m, size*n)
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			b := w.memory(space, a[l], size*n, l, accessRead)
			for i, d := range ds {
				if d >= 0 {
					w.regs[d][l] = load(b[i*size:], size, signed)
				}
			}
		}
	}
	return nil
}

// stOp stores registers to memory.
func (c *compiler) stOp() error {
	space := c.oneOf("global", "shared", "local")
	c.memMods()
	n := c.vectorWidth()
	t := c.typ()
	_, size := class(t)
	if size == 0 {
		return unsupported(t)
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
		return fmt.Errorf("%d sources for .v%d", len(s), n)
	}
	c.st.run = func(w *warp, m uint32) {
		var a lanes
		at(w, &a)
		w.countAccess(space, &a, m, size*n)
		for i := range s {
			x := s[i](w)
			for mm := m; mm != 0; mm &= mm - 1 {
				l := bits.TrailingZeros32(mm)
				b := w.memory(space, a[l]+uint64(i*size), size, l, accessWrite)
				store(b, x[l], size)
			}
		}
		if n > 1 {
			each(m, func(l int) { w.aligned(a[l], size*n, l) })
		}
	}
	return nil
}

// load reads size bytes; a signed value is extended to signed bytes when that is not 0.
func load(b []byte, size, signed int) uint64 {
	var v uint64
	switch size {
	case 1:
		v = uint64(b[0])
	case 2:
		v = uint64(binary.LittleEndian.Uint16(b))
	case 4:
		v = uint64(binary.LittleEndian.Uint32(b))
	case 8:
		return binary.LittleEndian.Uint64(b)
	}
	if signed != 0 {
		v = truncate(uint64(signExt(v, size)), signed)
	}
	return v
}

func store(b []byte, v uint64, size int) {
	switch size {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(v))
	case 8:
		binary.LittleEndian.PutUint64(b, v)
	}
}

// fits reports whether n bytes at off lie within size bytes, for any off.
func fits(off uint64, n, size int) bool { return n <= size && off <= uint64(size-n) }

type access uint8

const (
	accessRead access = iota
	accessWrite
	accessAtomic
)

// aligned checks that an access of n bytes is naturally aligned.
func (w *warp) aligned(addr uint64, n, lane int) {
	if addr&uint64(n-1) != 0 {
		w.l.report(w, Misaligned, lane, fmt.Sprintf("address %#x for an access of %d bytes", addr, n))
		panic(abort{})
	}
}

// memory resolves one lane's access, checks and records it, and returns the bytes. Generic addresses are
// recognised by their window. A mistake that would fault on a device ends the launch.
func (w *warp) memory(space string, addr uint64, n, lane int, how access) []byte {
	w.aligned(addr, n, lane)
	return w.access(space, addr, n, lane, how)
}

func (w *warp) access(space string, addr uint64, n, lane int, how access) []byte {
	switch {
	case space == "shared":
		return w.sharedBytes(addr, n, lane, how)
	case space == "local":
		return w.localBytes(addr, n, lane, how)
	case space == "" && addr >= sharedWindow && addr < sharedWindow+windowSize:
		return w.sharedBytes(addr-sharedWindow, n, lane, how)
	case space == "" && addr >= localWindow && addr < localWindow+windowSize:
		return w.localBytes(addr-localWindow, n, lane, how)
	case space == "" && addr >= paramWindow && addr < paramWindow+windowSize:
		return w.paramBytes(addr-paramWindow, n, lane, how)
	}
	a := w.last
	if a == nil || addr < a.base || !fits(addr-a.base, n, len(a.data)) {
		a = w.l.m.heap.find(addr, n)
		w.last = a
	}
	if a == nil {
		w.l.report(w, OutOfBounds, lane, fmt.Sprintf("%d bytes at %#x of global memory, %s", n, addr, w.l.m.heap.describe(addr)))
		panic(abort{})
	}
	off := addr - a.base
	w.touchGlobal(a, off, n, lane, how)
	return a.data[off : off+uint64(n)]
}

func (w *warp) sharedBytes(addr uint64, n, lane int, how access) []byte {
	s := w.l.shared
	if !s.inBounds(addr, n) {
		w.l.report(w, OutOfBounds, lane, fmt.Sprintf("%d bytes at byte %d of %d bytes of shared memory", n, int64(addr)-sharedStart, len(s.data)))
		panic(abort{})
	}
	off := addr - sharedStart
	switch how {
	case accessRead:
		s.read(w, lane, off, n)
	case accessWrite:
		s.write(w, lane, off, n, false)
	case accessAtomic:
		for i := off; i < off+uint64(n); i++ {
			if s.init[i] == 0 {
				w.l.report(w, Uninitialised, lane, fmt.Sprintf("byte %d of shared memory was never written", i))
				break
			}
		}
	}
	return s.data[off : off+uint64(n)]
}

// paramBytes resolves a generic address in the parameter space, which can only be read.
func (w *warp) paramBytes(addr uint64, n, lane int, how access) []byte {
	addr -= w.p.k.paramStart
	if how != accessRead || !fits(addr, n, len(w.l.params)) {
		w.l.report(w, OutOfBounds, lane, fmt.Sprintf("%d bytes at byte %d of %d bytes of parameters, which can only be read", n, addr, len(w.l.params)))
		panic(abort{})
	}
	return w.l.params[addr : addr+uint64(n)]
}

func (w *warp) localBytes(addr uint64, n, lane int, how access) []byte {
	size := uint64(w.p.k.LocalLen)
	if !fits(addr, n, int(size)) {
		w.l.report(w, OutOfBounds, lane, fmt.Sprintf("%d bytes at byte %d of %d bytes of local memory", n, addr, size))
		panic(abort{})
	}
	off := uint64(lane)*size + addr
	for i := off; i < off+uint64(n); i++ {
		if how == accessWrite {
			w.linit[i] = 1
		} else if w.linit[i] == 0 {
			w.l.report(w, Uninitialised, lane, fmt.Sprintf("byte %d of local memory was never written", i-uint64(lane)*size))
			break
		}
	}
	return w.local[off : off+uint64(n)]
}

// touchGlobal checks one access to global memory against those of other warps and blocks of this launch. Blocks
// have no order, warps of one block are ordered by barriers; atomics race only with plain accesses.
func (w *warp) touchGlobal(a *allocation, off uint64, n, lane int, how access) {
	init := a.init[off : off+uint64(n)]
	if how != accessWrite {
		if bytes.IndexByte(init, 0) >= 0 {
			w.l.report(w, Uninitialised, lane, fmt.Sprintf("byte %d of an allocation of %d bytes was never written", off+uint64(bytes.IndexByte(init, 0)), len(a.data)))
		}
	} else {
		for i := range init {
			init[i] = 1
		}
	}
	w.touched |= 1 << lane
	words := a.shadow()
	l := w.l
	for i := off / 2; i < (off+uint64(n)+1)/2; i++ {
		x := &words[i]
		if x.launch != l.m.launches {
			*x = gword{launch: l.m.launches, wcta: -1, rcta: -1}
		}
		if x.wcta >= 0 && !(how == accessAtomic && x.atomic) {
			clash := x.wcta != l.ctaIndex || int(x.wwarp) != w.id && x.wtime >= w.seen[x.wwarp] && x.wtime >= w.saw(int(x.wwarp), lane)
			if clash {
				l.report(w, Race, lane, fmt.Sprintf("byte %d of an allocation of %d bytes was written by block %d warp %d in the same launch with no barrier since", 2*i, len(a.data), x.wcta, x.wwarp))
			}
		}
		if how != accessWrite && x.rcta == -1 {
			l.counters.Read += 2
		}
		if how != accessRead && x.wcta < 0 {
			l.counters.Written += 2
		}
		if how == accessRead {
			switch {
			case x.rcta == l.ctaIndex:
			case x.rcta == -1:
				x.rcta, x.readers = l.ctaIndex, 0
			default:
				x.rcta = -2
			}
			x.readers |= 1 << w.id
			x.rtime = l.m.time
			continue
		}
		if x.rcta != -1 {
			clash := x.rcta == -2 || x.rcta != l.ctaIndex
			if !clash {
				for v := range l.warps {
					if v != w.id && x.readers>>v&1 != 0 && x.rtime >= w.seen[v] && x.rtime >= w.saw(v, lane) {
						clash = true
					}
				}
			}
			if clash {
				l.report(w, Race, lane, fmt.Sprintf("byte %d of an allocation of %d bytes was read by another warp or block in the same launch with no barrier since", 2*i, len(a.data)))
			}
		}
		x.wcta, x.wwarp, x.wtime, x.atomic = l.ctaIndex, uint8(w.id), l.m.time, how == accessAtomic
	}
}

// countAccess adds one warp-wide request to the counters.
func (w *warp) countAccess(space string, addrs *lanes, m uint32, n int) {
	in := &w.l.counters.PerInstr[w.pc]
	if space == "" {
		switch first := addrs[bits.TrailingZeros32(m)]; {
		case first >= globalStart:
			space = "global"
		case first >= sharedWindow && first < sharedWindow+windowSize:
			space = "shared"
		}
	}
	switch space {
	case "shared":
		u, i := wavefronts(addrs, m, n)
		in.Wavefronts += u
		in.IdealWavefronts += i
	case "global", "const":
		w.countSectors(in, addrs, m, n)
	}
}

func (w *warp) countSectors(in *InstrCount, addrs *lanes, m uint32, n int) {
	var sectors [64]uint64
	count, total := 0, 0
	lo, hi := ^uint64(0), uint64(0)
	for mm := m; mm != 0; mm &= mm - 1 {
		l := bits.TrailingZeros32(mm)
		total += n
		lo, hi = min(lo, addrs[l]), max(hi, addrs[l])
	next:
		for s := addrs[l] / 32; s <= (addrs[l]+uint64(n)-1)/32; s++ {
			for _, o := range sectors[:count] {
				if o == s {
					continue next
				}
			}
			sectors[count] = s
			count++
		}
	}
	if lo == hi {
		// All lanes read one address: a broadcast needs no more than its own bytes.
		total = n
	}
	in.Sectors += int64(count)
	in.IdealSectors += int64((total + 31) / 32)
	in.Bytes += int64(total)
}
