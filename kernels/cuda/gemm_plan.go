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

// GemmPlan is how a product is tiled. It depends on the shape and the number of multiprocessors only, so that the
// same product has the same bits every time.
type GemmPlan struct {
	TileN  int // columns of a tile
	Splits int // parts of K, summed by a second kernel
	Part   int // K of a part, a multiple of the depth of a tile
	Items  int // tiles times splits
	// Micros is the time that the model of gemm_model.go expects, in microseconds; 0 before version 3.
	Micros float64
}

func ceil(a, b int) int { return (a + b - 1) / b }

// cut divides K into at most splits parts of whole tiles.
func cut(k, tileK, splits int) (parts, part int) {
	part = max(ceil(ceil(k, tileK), splits), 1) * tileK
	return max(ceil(k, part), 1), part
}

// planV2 cuts K where the output has fewer tiles than the device runs blocks (two on a multiprocessor), into parts
// of no less than 1,024.
func planV2(m, n, k, sms int) GemmPlan {
	p := GemmPlan{TileN: v2Tile}
	tiles := ceil(m, v2Tile) * ceil(n, v2Tile)
	p.Splits, p.Part = cut(k, v2TileK, max(min(2*sms/tiles, k/1024), 1))
	p.Items = tiles * p.Splits
	return p
}

// PlanGemmV3 chooses the tile and the number of parts of K with the least expected time.
func PlanGemmV3(m, n, k, sms int) GemmPlan {
	var best GemmPlan
	for _, tileN := range []int{256, 128} {
		tiles := ceil(m, v3TileM) * ceil(n, tileN)
		for splits := 1; splits <= max(1, min(2*sms/tiles, k/512)); splits++ {
			if p := GemmV3Tiles(m, n, k, sms, tileN, splits); best.Items == 0 || p.Micros < best.Micros {
				best = p
			}
		}
	}
	return best
}

// GemmV3Tiles is the plan of a product on tiles of 128 x tileN with K cut into at most splits parts.
func GemmV3Tiles(m, n, k, sms, tileN, splits int) GemmPlan {
	p := GemmPlan{TileN: tileN}
	p.Splits, p.Part = cut(k, v3TileK, splits)
	p.Items = ceil(m, v3TileM) * ceil(n, tileN) * p.Splits
	p.Micros = gemmMicros(p, m, n, k, sms, microsFinishV3)
	return p
}

// GemmEpilogue is what the plan of version 4 must know of what is done to a product.
type GemmEpilogue struct {
	Kind  EpilogueKind
	Reads int  // matrices read: the argument of an activation's gradient, a residual, the old output
	Pre   bool // whether the value before the activation is stored too
}

// EpilogueKind says which code of version 4 finishes a tile; the names are those of gemm_v4_sm90.cu.
type EpilogueKind int

// The kinds of epilogue.
const (
	BareEpilogue     EpilogueKind = iota // none; the code is that of a bias
	PlainEpilogue                        // a bias
	LinearEpilogue                       // gamma, row scale, residual, accumulate
	GELUEpilogue                         // GELU, with or without the value before it
	GELUGradEpilogue                     // times the gradient of GELU, accumulate
	AnyEpilogue
)

// fits reports whether tiles of 128 x tileN have code for the epilogue and room in shared memory for what a warp
// needs of its matrices at once.
func (e GemmEpilogue) fits(tileN int) bool {
	pieces := max(e.Reads, 1)
	if e.Pre {
		pieces++
	}
	switch tileN {
	case 256:
		return e.Kind <= LinearEpilogue && pieces <= 2
	case 192:
		return e.Kind != AnyEpilogue
	}
	return true
}

// v4Shared is the shared memory of a block of version 4: the ring of stages, pieces of 2 KiB for each of the eight
// warps that finish tiles, and the barriers.
func v4Shared(tileN int) int {
	stages, pieces := 4, 4
	switch tileN {
	case 256:
		pieces = 2
	case 128:
		stages = 5
	}
	return stages*((v3TileM+tileN)*v3TileK*2+16) + 8*pieces*2048 + 16 + 8*4*8
}

// PlanGemmV4 chooses the tile and the number of parts of K with the least expected time among those that fit the
// epilogue. Parts are stored as they are, so that the epilogue is no matter.
func PlanGemmV4(e GemmEpilogue, m, n, k, sms int) GemmPlan {
	var best GemmPlan
	for _, tileN := range []int{256, 192, 128} {
		tiles := ceil(m, v3TileM) * ceil(n, tileN)
		for splits := 1; splits <= max(1, min(2*sms/tiles, k/512)); splits++ {
			p := GemmV4Tiles(e, m, n, k, sms, tileN, splits)
			if p.Splits == 1 && !e.fits(tileN) {
				continue
			}
			if best.Items == 0 || p.Micros < best.Micros {
				best = p
			}
		}
	}
	return best
}

// GemmV4Tiles is the plan of a product on tiles of 128 x tileN with K cut into at most splits parts.
func GemmV4Tiles(e GemmEpilogue, m, n, k, sms, tileN, splits int) GemmPlan {
	p := GemmPlan{TileN: tileN}
	p.Splits, p.Part = cut(k, v3TileK, splits)
	p.Items = ceil(m, v3TileM) * ceil(n, tileN) * p.Splits
	p.Micros = gemmMicros(p, m, n, k, sms, finishV4(e, p))
	return p
}
