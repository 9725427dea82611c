package cuda

// The time of a product by the warpgroup kernels (versions 3 and later), as the sum of what bounds them: steps of
// the main loop, finished tiles, waves of tiles over the multiprocessors, the sum over parts of K, and the launch.
// It is used to choose plans, and bench/products lists it beside measured times.
//
// Documented (CUDA programming guide and tuning guide for compute capability 9.0): the tensor cores of a
// multiprocessor do 4,096 FLOPs of dense bf16 in a clock, and its shared memory moves 128 bytes.
//
// Fitted by least medians to the 45 products of version 3 in bench/products/h200.csv, measured on one NVIDIA H200 on
// 2026-11-28; a test in bench/products holds the model to those measurements.
const (
	flopsClock  = 4096
	sharedClock = 128

	// The period under load, in microseconds: 1.60 GHz. The card's limit of power keeps it below its top clock.
	microsClock = 0.624e-3
	// To finish a tile of version 3. Its eight warps each finish 16 x 256 or 32 x 128 elements by the same code,
	// whose instructions wait for each other.
	microsFinishV3 = 10.9
	// The clocks between two instructions of a warp in that code, of which it executes 2,523 (counted on the
	// interpreter).
	clocksInstruction = microsFinishV3 / microsClock / 2523
	// The kernel that adds up the parts of K: between the two kernels, and bytes per microsecond, mostly in L2.
	microsReduce = 2.1
	bytesReduce  = 6.1e6
	// Bytes per microsecond of device memory: the copy by the driver on the same card.
	bytesMemory = 4.053e6
)

// GemmLaunchMicros is the time of a product outside of its tiles, in microseconds: from the end of the kernel
// before to the end of this one. It is fitted as the constants above are.
const GemmLaunchMicros = 3.4

// stepMicros is one step of 64 in K of a tile of 128 x tileN: the tensor cores' clocks or those of shared memory,
// which the copy engine fills once and from which each half of 64 rows reads its A and all of B.
func stepMicros(tileN int) float64 {
	tensor := 2 * v3TileM * tileN * v3TileK / flopsClock
	fill := (v3TileM + tileN) * v3TileK * 2
	read := (v3TileM + 2*tileN) * v3TileK * 2
	return microsClock * float64(max(tensor, (fill+read)/sharedClock))
}

// tilesMicros is the time of one multiprocessor for a number of tiles of 128 x tileN.
func tilesMicros(tiles int, turns bool, multiply, finish float64) float64 {
	if !turns { // both consumers work on the same tile, one half each
		return float64(tiles) * (multiply + finish)
	}
	// Two consumers take turns: one finishes while the other multiplies.
	var free [2]float64
	last := 0.0
	for i := range tiles {
		last = max(free[i%2], last) + multiply
		free[i%2] = last + finish
	}
	return max(free[0], free[1])
}

// gemmMicros is the estimated time of plan p of a product, in microseconds, where a tile takes finish to finish.
func gemmMicros(p GemmPlan, m, n, k, sms int, finish float64) float64 {
	steps := ceil(min(p.Part, k), v3TileK)
	t := tilesMicros(ceil(p.Items, sms), p.TileN != 256, float64(steps)*stepMicros(p.TileN), finish)
	t = max(t, float64(2*(m*k+n*k+m*n))/bytesMemory) + GemmLaunchMicros
	if p.Splits > 1 {
		t += microsReduce + float64(m*n*(4*2*p.Splits+2))/bytesReduce
	}
	return t
}

// instructionsV4 are the instructions that a warp of version 4 executes to finish a piece of 16 rows and 64
// columns, by kind of epilogue, counted on the interpreter; a test in kernels/ptx holds them to the kernels that
// ship.
var instructionsV4 = [...]float64{
	BareEpilogue: 106, PlainEpilogue: 119, LinearEpilogue: 392,
	GELUEpilogue: 599, GELUGradEpilogue: 893, AnyEpilogue: 1100,
}

// InstructionsV4 is the number of instructions that the model expects of a warp of version 4 for a piece of its tile.
func InstructionsV4(k EpilogueKind) float64 { return instructionsV4[k] }

// finishV4 is the expected time to finish a tile of version 4: its instructions, at the pace of version 3's. Parts
// of K are stored as they are, with fewer instructions than the barest epilogue has.
func finishV4(e GemmEpilogue, p GemmPlan) float64 {
	pieces := 4.0 // 64 x 256 by each consumer, or 128 x 128
	if p.TileN == 192 {
		pieces = 6
	}
	kind := e.Kind
	if p.TileN == 128 && kind > LinearEpilogue {
		kind = AnyEpilogue // these tiles have no code for GELU of its own
	}
	if p.Splits > 1 {
		kind = BareEpilogue
	}
	return pieces * instructionsV4[kind] * clocksInstruction * microsClock
}
