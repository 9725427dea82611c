package ptx

import "math/bits"

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
