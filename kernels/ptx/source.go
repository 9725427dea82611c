package ptx

import "fmt"

// source yields the lanes of an operand.
type source func(w *warp) *lanes

// special yields the lanes of a special register.
func special(name string) (source, error) {
	perLane := func(f func(w *warp, lane int) uint64) source {
		return func(w *warp) *lanes {
			var l lanes
			for i := range l {
				l[i] = f(w, i)
			}
			return &l
		}
	}
	uniform := func(f func(w *warp) int) source {
		return func(w *warp) *lanes { return constant(uint64(f(w))) }
	}
	tid := func(w *warp, lane int) (int, int, int) {
		t, b := w.id*32+lane, w.l.block
		return t % b[0], t / b[0] % b[1], t / b[0] / b[1]
	}
	switch name {
	case "%tid.x":
		return perLane(func(w *warp, l int) uint64 { x, _, _ := tid(w, l); return uint64(x) }), nil
	case "%tid.y":
		return perLane(func(w *warp, l int) uint64 { _, y, _ := tid(w, l); return uint64(y) }), nil
	case "%tid.z":
		return perLane(func(w *warp, l int) uint64 { _, _, z := tid(w, l); return uint64(z) }), nil
	case "%laneid":
		return perLane(func(_ *warp, l int) uint64 { return uint64(l) }), nil
	case "%lanemask_lt":
		return perLane(func(_ *warp, l int) uint64 { return 1<<l - 1 }), nil
	case "%lanemask_le":
		return perLane(func(_ *warp, l int) uint64 { return 2<<l - 1 }), nil
	case "%lanemask_eq":
		return perLane(func(_ *warp, l int) uint64 { return 1 << l }), nil
	case "%lanemask_gt":
		return perLane(func(_ *warp, l int) uint64 { return uint64(^uint32(2<<l - 1)) }), nil
	case "%lanemask_ge":
		return perLane(func(_ *warp, l int) uint64 { return uint64(^uint32(1<<l - 1)) }), nil
	case "%warpid":
		return uniform(func(w *warp) int { return w.id }), nil
	case "%nwarpid":
		return uniform(func(w *warp) int { return len(w.l.warps) }), nil
	case "%dynamic_smem_size":
		return uniform(func(w *warp) int { return len(w.l.shared.data) - w.p.k.SharedLen }), nil
	case "%smid":
		return uniform(func(w *warp) int { return int(w.l.ctaIndex) % 132 }), nil
	case "%clock", "%clock64":
		return uniform(func(w *warp) int { return int(w.l.counters.Instructions) }), nil
	case "%cluster_ctarank":
		return uniform(func(*warp) int { return 0 }), nil
	case "%cluster_nctarank":
		return uniform(func(*warp) int { return 1 }), nil
	case "%cluster_ctaid.x", "%cluster_ctaid.y", "%cluster_ctaid.z":
		return uniform(func(*warp) int { return 0 }), nil
	case "%cluster_nctaid.x", "%cluster_nctaid.y", "%cluster_nctaid.z":
		return uniform(func(*warp) int { return 1 }), nil
	}
	for i, axis := range []string{".x", ".y", ".z"} {
		switch name {
		case "%ntid" + axis:
			return uniform(func(w *warp) int { return w.l.block[i] }), nil
		case "%ctaid" + axis, "%clusterid" + axis:
			return uniform(func(w *warp) int { return w.l.cta[i] }), nil
		case "%nctaid" + axis, "%nclusterid" + axis:
			return uniform(func(w *warp) int { return w.l.grid[i] }), nil
		}
	}
	return nil, fmt.Errorf("special register %s is not known", name)
}
