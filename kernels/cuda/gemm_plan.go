package cuda

// Sizes of the tiles of gemm.cu, version 2, and gemm_sm90.cu, version 3.
const (
	v2Tile   = 128
	v2TileK  = 32
	v2Shared = 64 << 10

	v3TileM = 128
	v3TileK = 64
)

// v3Shared is the shared memory of a block of version 3: the ring of stages, 4 KiB for each of the eight warps that
// finish tiles, two barriers a stage and one for each consumer's turn.
func v3Shared(tileN int) int {
	stages := 4
	if tileN == 128 {
		stages = 6
	}
	return stages*((v3TileM+tileN)*v3TileK*2+16) + 8*4096 + 16
}

// gemmPlan is how a product is cut. It depends on the shape and the device only, so that the same product has the
// same bits every time.
type gemmPlan struct {
	tileN  int
	splits int // parts of K, summed by a second kernel
	part   int // K of a part, a multiple of the depth of a tile
	items  int // tiles times splits
	clocks int // estimated, version 3
}

func ceil(a, b int) int { return (a + b - 1) / b }

// cut divides K into at most splits parts of whole tiles.
func cut(k, tileK, splits int) (parts, part int) {
	part = max(ceil(ceil(k, tileK), splits), 1) * tileK
	return max(ceil(k, part), 1), part
}

// planV2 cuts K where the output has fewer tiles than the device runs blocks (two on a multiprocessor), into parts
// of no less than 1,024.
func planV2(m, n, k, sms int) gemmPlan {
	p := gemmPlan{tileN: v2Tile}
	tiles := ceil(m, v2Tile) * ceil(n, v2Tile)
	p.splits, p.part = cut(k, v2TileK, max(min(2*sms/tiles, k/1024), 1))
	p.items = tiles * p.splits
	return p
}

// Clocks of version 3 on one multiprocessor, by arithmetic from the rates of a Hopper chip and not measured yet.
const (
	// One step of 64 in K. The tensor cores do 4,096 FLOPs a clock: 1,024 and 512 clocks. Shared memory moves 128 bytes
	// a clock: a step writes 48 KiB and reads 80 for a tile of 128x256, 32 and 48 KiB for 128x128.
	step256 = 1024
	step128 = 640
	// To finish a tile: 32 rounds a warp, two warps a scheduler, about 50 instructions each.
	finishTile = 3200
	// To start a kernel, and bytes of memory the whole device moves in a clock.
	startKernel = 5000
	bytesClock  = 1700
)

// planV3 takes the tile and the number of parts with the least estimated time: waves of tiles over the
// multiprocessors, where a partly filled last wave costs as much as a full one, and for parts of K the second kernel.
func planV3(m, n, k, sms int) gemmPlan {
	var best gemmPlan
	for _, tileN := range []int{256, 128} {
		tiles := ceil(m, v3TileM) * ceil(n, tileN)
		for splits := 1; splits <= max(1, min(2*sms/tiles, k/512)); splits++ {
			p := gemmPlan{tileN: tileN}
			p.splits, p.part = cut(k, v3TileK, splits)
			p.items = tiles * p.splits
			waves, steps := ceil(p.items, sms), ceil(min(p.part, k), v3TileK)
			if tileN == 256 {
				p.clocks = waves * (steps*step256 + finishTile)
			} else {
				// Two warpgroups take turns: one finishes while the other multiplies.
				multiply := steps * step128
				p.clocks = waves*max(multiply, (multiply+finishTile)/2) + finishTile
			}
			if p.splits > 1 {
				p.clocks += startKernel + m*n*4*(p.splits+1)/bytesClock
			}
			if best.items == 0 || p.clocks < best.clocks {
				best = p
			}
		}
	}
	return best
}
