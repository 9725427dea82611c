package ptx

import "math/bits"

func firstLane(m uint32) int { return bits.TrailingZeros32(m) }

// each calls f for every lane in m.
func each(m uint32, f func(l int)) {
	for ; m != 0; m &= m - 1 {
		f(bits.TrailingZeros32(m))
	}
}

// pick returns bit l of a lane mask as a bool.
func pick(m uint32, l int) bool { return m>>l&1 != 0 }

func constant(v uint64) *lanes {
	var l lanes
	for i := range l {
		l[i] = v
	}
	return &l
}

const fullMask = 0xffffffff

type lanes = [32]uint64
