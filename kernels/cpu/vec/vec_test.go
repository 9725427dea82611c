package vec

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/dino-mx/dmx/tensor"
)

// eachISA runs a test once for every instruction set this machine has.
func eachISA(t *testing.T, f func(t *testing.T)) {
	for i := Generic; i <= Best; i++ {
		t.Run(i.String(), func(t *testing.T) {
			defer Use(Use(i))
			f(t)
		})
	}
}

// kernelCases call each kernel in the form under test and in portable Go, on the same kind of slices.
var kernelCases = []struct {
	name     string
	slices   int
	positive int     // slices from this one on are positive (second moments)
	term     float64 // a bound on one term of the results
	call     func(x [][]float32) []float32
	portable func(x [][]float32) []float32
}{
	{"Fill", 1, 9, 0, func(x [][]float32) []float32 { Fill(x[0], 0.3); return nil }, func(x [][]float32) []float32 { fillGo(x[0], 0.3); return nil }},
	{"Axpy", 2, 9, 0, func(x [][]float32) []float32 { Axpy(x[0], x[1], 0.3); return nil }, func(x [][]float32) []float32 { axpyGo(x[0], x[1], 0.3); return nil }},
	{"Scale", 2, 9, 0, func(x [][]float32) []float32 { Scale(x[0], x[1], 0.3); return nil }, func(x [][]float32) []float32 { scaleGo(x[0], x[1], 0.3); return nil }},
	{"MulScale", 3, 9, 0, func(x [][]float32) []float32 { MulScale(x[0], x[1], x[2], 0.3); return nil }, func(x [][]float32) []float32 { mulScaleGo(x[0], x[1], x[2], 0.3); return nil }},
	{"SubScale", 3, 9, 0, func(x [][]float32) []float32 { SubScale(x[0], x[1], x[2], 0.3); return nil }, func(x [][]float32) []float32 { subScaleGo(x[0], x[1], x[2], 0.3); return nil }},
	{"Sum", 1, 9, 2, func(x [][]float32) []float32 { return one(Sum(x[0])) }, func(x [][]float32) []float32 { return one(sumGo(x[0])) }},
	{"Dot", 2, 9, 4, func(x [][]float32) []float32 { return one(Dot(x[0], x[1])) }, func(x [][]float32) []float32 { return one(dotGo(x[0], x[1])) }},
	{"SumSquares", 1, 9, 6, func(x [][]float32) []float32 { return one(SumSquares(x[0], 0.3)) }, func(x [][]float32) []float32 { return one(sumSquaresGo(x[0], 0.3)) }},
	{"SumSquaredDiff", 2, 9, 16, func(x [][]float32) []float32 { return one(SumSquaredDiff(x[0], x[1])) }, func(x [][]float32) []float32 { return one(sumSquaredDiffGo(x[0], x[1])) }},
	{"Max", 1, 9, 2, func(x [][]float32) []float32 { return one(Max(x[0])) }, func(x [][]float32) []float32 { return one(maxGo(x[0])) }},
	{"MaxDiff", 2, 9, 4, func(x [][]float32) []float32 { return one(MaxDiff(x[0], x[1])) }, func(x [][]float32) []float32 { return one(maxDiffGo(x[0], x[1])) }},
	{"Normalize", 4, 9, 0, func(x [][]float32) []float32 { Normalize(x[0], x[1], x[2], x[3], 0.3, 1.7); return nil }, func(x [][]float32) []float32 { normalizeGo(x[0], x[1], x[2], x[3], 0.3, 1.7); return nil }},
	{"LayerNormSums", 3, 9, 16, func(x [][]float32) []float32 { return two(LayerNormSums(x[0], x[1], x[2], 0.3, 1.7)) }, func(x [][]float32) []float32 { return two(layerNormSumsGo(x[0], x[1], x[2], 0.3, 1.7)) }},
	{"LayerNormParams", 4, 9, 0, func(x [][]float32) []float32 { LayerNormParams(x[0], x[1], x[2], x[3], 0.3, 1.7); return nil }, func(x [][]float32) []float32 { layerNormParamsGo(x[0], x[1], x[2], x[3], 0.3, 1.7); return nil }},
	{"LayerNormGrad", 4, 9, 0, func(x [][]float32) []float32 { LayerNormGrad(x[0], x[1], x[2], x[3], 0.3, 1.7, 0.2, 0.1); return nil }, func(x [][]float32) []float32 { layerNormGradGo(x[0], x[1], x[2], x[3], 0.3, 1.7, 0.2, 0.1); return nil }},
	{"LayerNormGradAdd", 4, 9, 0, func(x [][]float32) []float32 {
		LayerNormGradAdd(x[0], x[1], x[2], x[3], 0.3, 1.7, 0.2, 0.1)
		return nil
	}, func(x [][]float32) []float32 {
		layerNormGradAddGo(x[0], x[1], x[2], x[3], 0.3, 1.7, 0.2, 0.1)
		return nil
	}},
	{"ExpSum", 2, 9, 20, func(x [][]float32) []float32 { return one(ExpSum(x[0], x[1], 1.3, 0.4)) }, func(x [][]float32) []float32 { return one(expSumGo(x[0], x[1], 1.3, 0.4)) }},
	{"SumExp", 1, 9, 20, func(x [][]float32) []float32 { return one(SumExp(x[0], nil, 1.3, 0.4)) }, func(x [][]float32) []float32 { return one(sumExpGo(x[0], 1.3, 0.4)) }},
	{"SumExpDiff", 2, 9, 270, func(x [][]float32) []float32 { return one(SumExp(x[0], x[1], 1.3, 0.4)) }, func(x [][]float32) []float32 { return one(sumExpDiffGo(x[0], x[1], 1.3, 0.4)) }},
	{"AddExp", 2, 9, 0, func(x [][]float32) []float32 { AddExp(x[0], x[1], nil, 1.3, 0.4); return nil }, func(x [][]float32) []float32 { addExpGo(x[0], x[1], 1.3, 0.4); return nil }},
	{"AddExpDiff", 3, 9, 0, func(x [][]float32) []float32 { AddExp(x[0], x[1], x[2], 1.3, 0.4); return nil }, func(x [][]float32) []float32 { addExpDiffGo(x[0], x[1], x[2], 1.3, 0.4); return nil }},
	{"Exp", 2, 9, 0, func(x [][]float32) []float32 { Exp(x[0], x[1], nil, 1.3, 0.4); return nil }, func(x [][]float32) []float32 { expOfGo(x[0], x[1], 1.3, 0.4); return nil }},
	{"ExpDiff", 3, 9, 0, func(x [][]float32) []float32 { Exp(x[0], x[1], x[2], 1.3, 0.4); return nil }, func(x [][]float32) []float32 { expDiffGo(x[0], x[1], x[2], 1.3, 0.4); return nil }},
	{"Cross", 3, 9, 32, func(x [][]float32) []float32 { return one(Cross(x[0], x[1], nil, x[2], 1.3, 0.4, 0.7, -0.2, 0.6)) }, func(x [][]float32) []float32 { return one(crossGo(x[0], x[1], x[2], 1.3, 0.4, 0.7, -0.2, 0.6)) }},
	{"CrossDiff", 4, 9, 432, func(x [][]float32) []float32 { return one(Cross(x[0], x[1], x[2], x[3], 1.3, 0.4, 0.7, -0.2, 0.6)) }, func(x [][]float32) []float32 {
		return one(crossDiffGo(x[0], x[1], x[2], x[3], 1.3, 0.4, 0.7, -0.2, 0.6))
	}},
	{"CrossGrad", 3, 9, 0, func(x [][]float32) []float32 { CrossGrad(x[0], x[1], x[2], 0.7, -0.2, 0.6); return nil }, func(x [][]float32) []float32 { crossGradGo(x[0], x[1], x[2], 0.7, -0.2, 0.6); return nil }},
	{"ScoreGrad", 2, 9, 0, func(x [][]float32) []float32 { ScoreGrad(x[0], x[1], 0.7, -0.2, 0.6); return nil }, func(x [][]float32) []float32 { scoreGradGo(x[0], x[1], 0.7, -0.2, 0.6); return nil }},
	{"AdamW", 4, 2, 0, func(x [][]float32) []float32 { AdamW(x[0], x[1], x[2], x[3], nil, &testAdam); return nil }, func(x [][]float32) []float32 { adamWGo(x[0], x[1], x[2], x[3], &testAdam); return nil }},
	{"AdamWEMA", 5, 2, 0, func(x [][]float32) []float32 { AdamW(x[0], x[1], x[2], x[3], x[4], &testAdam); return nil }, func(x [][]float32) []float32 { adamWLerpGo(x[0], x[1], x[2], x[3], x[4], &testAdam); return nil }},
	{"Lerp", 2, 9, 0, func(x [][]float32) []float32 { Lerp(x[0], x[1], 0.9, 0.1); return nil }, func(x [][]float32) []float32 { lerpGo(x[0], x[1], 0.9, 0.1); return nil }},
	{"Rotate", 4, 9, 0, func(x [][]float32) []float32 { Rotate(x[0], x[1], x[2], x[3], -1); return nil }, func(x [][]float32) []float32 { rotateGo(x[0], x[1], x[2], x[3], -1); return nil }},
}

var testAdam = Adam{Scale: 0.8, Decay: 0.01, Beta1: 0.9, OneBeta1: 0.1, Beta2: 0.99, OneBeta2: 0.01, Rate: 0.02, RootScale: 1.3, Eps: 1e-8, Momentum: 0.95, OneMomentum: 0.05}

func one(a float32) []float32    { return []float32{a} }
func two(a, b float32) []float32 { return []float32{a, b} }

// lengths go around every vector, unrolled loop and tail.
func lengths() []int {
	var n []int
	for i := range 140 {
		n = append(n, i)
	}
	return append(n, 384, 1000, 1024, 1025)
}

const guard = 19 // elements around every slice that a kernel must leave alone

// guarded makes n random numbers between two zones of a bit pattern that no kernel produces.
func guarded(r *tensor.Rand, n int, positive bool) (all, x []float32) {
	all = make([]float32, n+2*guard)
	for i := range all {
		all[i] = math.Float32frombits(0x7fabcdef)
	}
	x = all[guard : guard+n : guard+n]
	for i := range x {
		x[i] = float32(r.Uniform(-2, 2))
		if positive {
			x[i] = abs(x[i])
		}
	}
	return all, x
}

func abs(x float32) float32 { return float32(math.Abs(float64(x))) }

func TestKernels(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		for _, c := range kernelCases {
			r := tensor.NewRand(7, 0, 0, 0)
			for _, n := range lengths() {
				all, x, want := make([][]float32, c.slices), make([][]float32, c.slices), make([][]float32, c.slices)
				for i := range x {
					all[i], x[i] = guarded(r, n, i >= c.positive)
					want[i] = slices.Clone(x[i])
				}
				got, sums := c.call(x), c.portable(want)
				for i := range x {
					for k := range x[i] {
						if !near(x[i][k], want[i][k], 4e-6) {
							t.Fatalf("%s of %d: slice %d element %d is %v, want %v", c.name, n, i, k, x[i][k], want[i][k])
						}
					}
					for k, v := range all[i] {
						if (k < guard || k >= guard+n) && math.Float32bits(v) != 0x7fabcdef {
							t.Fatalf("%s of %d: slice %d written at %d", c.name, n, i, k-guard)
						}
					}
				}
				for i := range sums {
					if d := math.Abs(float64(got[i] - sums[i])); got[i] != sums[i] && !(d <= 0x1p-23*c.term*(8+float64(n))) {
						t.Fatalf("%s of %d: result %d is %v, want %v", c.name, n, i, got[i], sums[i])
					}
				}
			}
		}
	})
}

func near(a, b float32, tol float64) bool {
	return a == b || math.Abs(float64(a)-float64(b)) <= tol*math.Max(1, math.Abs(float64(b)))
}

// The error of exp is below 2 units in the last place of a float32 over its whole range.
func TestExpAccuracy(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		const n = 1 << 16
		x, y := make([]float32, n), make([]float32, n)
		for i := range x {
			x[i] = float32(-87.3 + (88.3+87.3)*float64(i)/n)
		}
		Exp(y, x, nil, 1, 0)
		worst := 0.0
		for i, v := range x {
			want := math.Exp(float64(v))
			worst = max(worst, math.Abs(float64(y[i])-want)/want)
		}
		if worst > 2*0x1p-23 {
			t.Errorf("relative error %g, want below %g", worst, 2*0x1p-23)
		}
		t.Logf("relative error %.2g", worst)
	})
}

func TestExpSpecial(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachISA(t, func(t *testing.T) {
		for _, n := range []int{1, 16, 37} {
			for _, c := range []struct{ x, want float32 }{{0, 1}, {-inf, 0}, {inf, inf}, {-200, 0}, {200, inf}, {-88, 0}, {nan, nan}} {
				x, y := make([]float32, n), make([]float32, n)
				for i := range x {
					x[i] = c.x
				}
				sum := ExpSum(y, x, 1, 0)
				if y[n-1] != c.want && c.want == c.want || (c.want != c.want) != (sum != sum) || (c.want != c.want) != (y[n-1] != y[n-1]) {
					t.Errorf("exp(%v) of %d: %v, sum %v", c.x, n, y[n-1], sum)
				}
			}
		}
	})
}

func TestBF16(t *testing.T) {
	var x []float32
	for _, u := range []uint32{0, 0x80000000, 0x3f800000, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7f800001, 0x7fc00000, 0xffffffff, 1, 0x007fffff, 0x00018000} {
		x = append(x, math.Float32frombits(u))
	}
	r := tensor.NewRand(3, 0, 0, 0)
	for range 300 {
		x = append(x, math.Float32frombits(r.Uint32()))
	}
	eachISA(t, func(t *testing.T) {
		for n := range len(x) {
			h := make([]uint16, n+2)
			h[n], h[n+1] = 0xabcd, 0xabcd
			Narrow(h[:n], x[:n])
			y := make([]float32, n+2)
			y[n] = 7
			Widen(y[:n], h[:n])
			for i := range n {
				want := tensor.ToBF16(x[i])
				if h[i] != want || math.Float32bits(y[i]) != uint32(want)<<16 {
					t.Fatalf("%d: %08x becomes %04x and %08x, want %04x", n, math.Float32bits(x[i]), h[i], math.Float32bits(y[i]), want)
				}
			}
			if h[n] != 0xabcd || h[n+1] != 0xabcd || y[n] != 7 {
				t.Fatalf("%d: written past the end", n)
			}
		}
	})
}

func BenchmarkRow(b *testing.B) {
	for i := Generic; i <= Best; i++ {
		for _, c := range kernelCases {
			b.Run(fmt.Sprintf("%s/%s", c.name, i), func(b *testing.B) {
				defer Use(Use(i))
				const n = 1024
				r := tensor.NewRand(7, 0, 0, 0)
				x := make([][]float32, c.slices)
				for k := range x {
					_, x[k] = guarded(r, n, k >= c.positive)
				}
				for b.Loop() {
					c.call(x)
				}
				b.ReportMetric(float64(n)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "Gelem/s")
			})
		}
	}
}
