package ptx

import (
	"fmt"
	"math/bits"

	"github.com/dino-mx/dmx/kernels/ptx/syntax"
)

// groupCount is the operand of a wait for groups: how many of the youngest may stay open.
func (c *compiler) groupCount() (int, error) {
	if err := c.nargs(1); err != nil || c.in.Args[0].Kind != syntax.ImmOperand || c.in.Args[0].Imm > maxGroups {
		return 0, fmt.Errorf("want a literal number of groups, at most %d", maxGroups)
	}
	return int(c.in.Args[0].Imm), nil
}

// maxGroups is more groups than any kernel keeps open.
const maxGroups = 1 << 16

// cpArrive compiles cp.async.mbarrier.arrive: when the copies that a thread has asked for so far are done, it arrives at
// an mbarrier. Without .noinc the arrival is one more than the phase expected.
func (c *compiler) cpArrive() error {
	if !c.has("arrive") {
		return fmt.Errorf("want .mbarrier.arrive")
	}
	noinc := c.has("noinc")
	space := c.mbarrierSpace()
	if t := c.typ(); t != "b64" {
		return fmt.Errorf("want .b64")
	}
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
			b := w.mbarrier(space, a[l], l)
			if !noinc {
				if b.pending++; b.pending > maxCount {
					w.l.report(w, BadMbarrier, l, fmt.Sprintf("more than %d arrivals pending at the %v", maxCount, b))
					panic(abort{})
				}
			}
			w.l.bulk = append(w.l.bulk, &bulkCopy{in: w.p.steps[w.pc].in, w: w, lane: l, bar: b, copies: w.async.takeLane(l)})
		})
	}
	return nil
}

// landArrival ends the copies of a cp.async.mbarrier.arrive and arrives. Their bytes count as written by the mbarrier:
// who waits for it, or for the copies themselves, may use them.
func (l *launch) landArrival(b *bulkCopy) {
	b.w.land(b.copies)
	for _, o := range b.copies {
		for i := o.dst / 2; i < (o.dst+uint64(o.size)+1)/2; i++ {
			l.shared.words[i].wwarp = int8(b.bar.agent)
		}
	}
	l.m.time++
	b.bar.arrived.seen[b.bar.agent] = l.m.time
	l.at = b.in
	b.w.arriveMbarrier(b.bar, b.lane, 1)
	l.at = nil
}

// landPromised ends the copies of the warp that an arrival at an mbarrier waits for: a wait for groups covers them too.
func (w *warp) landPromised() {
	for _, b := range w.l.bulk {
		if b.w == w && len(b.copies) > 0 {
			w.land(b.copies)
			b.copies = nil
		}
	}
}

// land copies the bytes of finished copies.
func (w *warp) land(ops []copyOp) {
	for _, o := range ops {
		dst := w.l.shared.data[o.dst : o.dst+uint64(o.size)]
		clear(dst)
		if o.n > 0 {
			a := w.l.m.heap.find(o.src, o.n)
			copy(dst, a.data[o.src-a.base:][:o.n])
		}
		w.l.shared.landed(w, o.lane, o.dst, o.size)
	}
}

// cpAsync compiles the copies of a thread, their commit and their wait.
func (c *compiler) cpAsync() error {
	switch c.oneOf("commit_group", "wait_group", "wait_all") {
	case "commit_group":
		c.st.kind = stepSync
		c.st.sync = func(w *warp, m uint32) bool {
			w.async.groups = append(w.async.groups, append([]copyOp(nil), w.async.open...))
			w.async.open = w.async.open[:0]
			w.pc++
			return true
		}
		return c.nargs(0)
	case "wait_group":
		n, err := c.groupCount()
		if err != nil {
			return err
		}
		c.st.kind = stepSync
		c.st.sync = func(w *warp, m uint32) bool {
			w.landPromised()
			for len(w.async.groups) > n {
				w.land(w.async.groups[0])
				w.async.groups = w.async.groups[1:]
			}
			w.pc++
			return true
		}
		return nil
	case "wait_all":
		c.st.kind = stepSync
		c.st.sync = func(w *warp, m uint32) bool {
			w.landPromised()
			for _, g := range w.async.groups {
				w.land(g)
			}
			w.land(w.async.open)
			w.async.reset()
			w.pc++
			return true
		}
		return c.nargs(0)
	}
	cache := c.oneOf("ca", "cg")
	if !c.has("shared") || !c.has("global") || cache == "" {
		return fmt.Errorf("want .ca or .cg and .shared.global")
	}
	c.memMods()
	if len(c.in.Args) != 3 && len(c.in.Args) != 4 {
		return fmt.Errorf("%d operands", len(c.in.Args))
	}
	if c.in.Args[2].Kind != syntax.ImmOperand {
		return fmt.Errorf("the size is not a literal")
	}
	size := int(c.in.Args[2].Imm)
	if size != 16 && (cache == "cg" || size != 4 && size != 8) {
		return fmt.Errorf("size %d", size)
	}
	to, err := c.address(c.in.Args[0])
	if err != nil {
		return err
	}
	from, err := c.address(c.in.Args[1])
	if err != nil {
		return err
	}
	var part source
	if len(c.in.Args) == 4 {
		if part, err = c.src(c.in.Args[3]); err != nil {
			return err
		}
	}
	c.st.run = func(w *warp, m uint32) {
		var d, s lanes
		to(w, &d)
		from(w, &s)
		in := &w.l.counters.PerInstr[w.pc]
		u, i := wavefronts(&d, m, size)
		in.Wavefronts += u
		in.IdealWavefronts += i
		full := uint32(0)
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			n := size
			if part != nil {
				if n = int(uint32(part(w)[l])); n > size {
					w.l.report(w, BadOperand, l, fmt.Sprintf("source size %d for a copy of %d bytes", n, size))
					panic(abort{})
				}
			}
			w.aligned(d[l], size, l)
			if !w.l.shared.inBounds(d[l], size) {
				w.l.report(w, OutOfBounds, l, fmt.Sprintf("%d bytes at byte %d of %d bytes of shared memory", size, int64(d[l])-sharedStart, len(w.l.shared.data)))
				panic(abort{})
			}
			if n > 0 {
				w.aligned(s[l], size, l)
				w.access("global", s[l], n, l, accessRead)
				full |= 1 << l
			}
			w.l.shared.write(w, l, d[l]-sharedStart, size, true)
			w.async.open = append(w.async.open, copyOp{l, d[l] - sharedStart, s[l], size, n})
		}
		if full != 0 {
			w.countSectors(in, &s, full, size)
		}
	}
	return nil
}
