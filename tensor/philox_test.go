package tensor

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The known answers for philox4x32 with 10 rounds that the authors publish with Random123.
func TestPhiloxKnownAnswers(t *testing.T) {
	tests := []struct {
		ctr  [4]uint32
		key  [2]uint32
		want [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, [2]uint32{0xffffffff, 0xffffffff}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0}, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	}
	for _, tt := range tests {
		if d := cmp.Diff(tt.want, Philox(tt.key, tt.ctr)); d != "" {
			t.Errorf("key %x, counter %x (-want +got):\n%s", tt.key, tt.ctr, d)
		}
	}
}

// The stream is the blocks of counters 0, 1, … in order, so that a kernel can make any part of it.
func TestRandIsPhiloxInOrder(t *testing.T) {
	const seed = 0x0123456789abcdef
	r := NewRand(seed, 5, 6, 7)
	for block := range uint32(3) {
		want := Philox([2]uint32{0x89abcdef, 0x01234567}, [4]uint32{block, 5, 6, 7})
		for i, w := range want {
			if got := r.Uint32(); got != w {
				t.Fatalf("word %d of block %d is %#x, want %#x", i, block, got, w)
			}
		}
	}
}

// Streams that differ in any part of their name share nothing and are uncorrelated.
func TestStreamsAreIndependent(t *testing.T) {
	const n = 4096
	names := [][4]uint64{{1, 2, 3, 4}, {2, 2, 3, 4}, {1 << 32, 2, 3, 4}, {1, 3, 3, 4}, {1, 2, 4, 4}, {1, 2, 3, 5}, {1, 4, 3, 2}, {1, 2, 3, 1 << 24}}
	streams := make([][]float64, len(names))
	seen := map[uint64]int{}
	for s, name := range names {
		r := NewRand(name[0], uint32(name[1]), uint32(name[2]), uint32(name[3]))
		again := NewRand(name[0], uint32(name[1]), uint32(name[2]), uint32(name[3]))
		for range n {
			v := r.Uint64()
			if w := again.Uint64(); w != v {
				t.Fatalf("stream %v is not a function of its name", name)
			}
			if other, ok := seen[v]; ok {
				t.Fatalf("streams %v and %v share %#x", names[other], name, v)
			}
			seen[v] = s
			streams[s] = append(streams[s], float64(v)/(1<<64)-0.5)
		}
	}
	for i := range streams {
		for j := range i {
			sum := 0.0
			for k := range n {
				sum += streams[i][k] * streams[j][k]
			}
			// A product of two uniforms has standard deviation 1/12.
			if z := sum * 12 / math.Sqrt(n); math.Abs(z) > 4.5 {
				t.Errorf("streams %v and %v correlate: %.1f standard deviations", names[i], names[j], z)
			}
		}
	}
}

func TestDistributions(t *testing.T) {
	const n = 20_000
	r := NewRand(3, 1, 4, 1)
	tests := []struct {
		name       string
		draw       func() float64
		mean, std  float64
		low, high  float64
		openAtHigh bool
	}{
		{"Float64", r.Float64, 0.5, math.Sqrt(1.0 / 12), 0, 1, true},
		{"Uniform", func() float64 { return r.Uniform(-3, 5) }, 1, 8 / math.Sqrt(12), -3, 5, true},
		{"Norm", r.Norm, 0, 1, math.Inf(-1), math.Inf(1), false},
		{"TruncNorm", func() float64 { return r.TruncNorm(1, 2) }, 0, 0.8796, -2, 2, false},
		{"Intn", func() float64 { return float64(r.Intn(6)) }, 2.5, math.Sqrt(35.0 / 12), 0, 5, false},
		{"Bool", func() float64 {
			if r.Bool(0.25) {
				return 1
			}
			return 0
		}, 0.25, math.Sqrt(3.0 / 16), 0, 1, false},
	}
	for _, tt := range tests {
		sum, squares := 0.0, 0.0
		for range n {
			v := tt.draw()
			if v < tt.low || v > tt.high || tt.openAtHigh && v == tt.high {
				t.Fatalf("%s drew %v", tt.name, v)
			}
			sum += v
			squares += (v - tt.mean) * (v - tt.mean)
		}
		if z := (sum/n - tt.mean) / tt.std * math.Sqrt(n); math.Abs(z) > 4.5 {
			t.Errorf("%s: the mean is %v, %.1f standard errors from %v", tt.name, sum/n, z, tt.mean)
		}
		if std := math.Sqrt(squares / n); math.Abs(std/tt.std-1) > 0.04 {
			t.Errorf("%s: the standard deviation is %v, want %v", tt.name, std, tt.std)
		}
	}
}

func TestPerm(t *testing.T) {
	const n, rounds = 5, 6000
	r := NewRand(9, 0, 0, 0)
	counts := map[[n]int]int{}
	for range rounds {
		p := r.Perm(n)
		seen := [n]bool{}
		var key [n]int
		for i, v := range p {
			seen[v] = true
			key[i] = v
		}
		if seen != [n]bool{true, true, true, true, true} {
			t.Fatalf("%v is not a permutation", p)
		}
		counts[key]++
	}
	// 120 permutations of 50 draws each: every one comes up, none too often.
	if len(counts) != 120 {
		t.Errorf("%d of 120 permutations came up", len(counts))
	}
	for p, c := range counts {
		if c > 50+6*8 {
			t.Errorf("%v came up %d times in %d", p, c, rounds)
		}
	}
	if got := panics(func() { r.Intn(0) }); got == "" {
		t.Error("Intn(0) does not panic")
	}
}
