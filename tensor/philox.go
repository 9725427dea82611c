package tensor

import "math"

// Philox is the Philox-4x32-10 block function of Salmon, Moraes, Dror and Shaw ("Parallel random numbers: as
// easy as 1, 2, 3", SC 2011): ten rounds that turn a 128-bit counter and a 64-bit key into 128 random bits.
func Philox(key [2]uint32, ctr [4]uint32) [4]uint32 {
	const m0, m1, w0, w1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
	for i := 0; ; i++ {
		p0, p1 := uint64(m0)*uint64(ctr[0]), uint64(m1)*uint64(ctr[2])
		ctr = [4]uint32{uint32(p1>>32) ^ ctr[1] ^ key[0], uint32(p1), uint32(p0>>32) ^ ctr[3] ^ key[1], uint32(p0)}
		if i == 9 {
			return ctr
		}
		key[0] += w0
		key[1] += w1
	}
}

// Rand is one stream of random numbers: a function of a seed and three words that say what it is for, so
// that any draw of a run can be made again without replaying the ones before it.
type Rand struct {
	key  [2]uint32
	ctr  [4]uint32
	buf  [4]uint32
	left int
}

// NewRand starts the stream of (seed, a, b, c). For an augmentation these are epoch, sample and view; other
// users take a purpose number above 1<<24 in c so that streams never meet.
func NewRand(seed uint64, a, b, c uint32) *Rand {
	return &Rand{key: [2]uint32{uint32(seed), uint32(seed >> 32)}, ctr: [4]uint32{0, a, b, c}}
}

// Uint32 draws 32 random bits.
func (r *Rand) Uint32() uint32 {
	if r.left == 0 {
		r.buf = Philox(r.key, r.ctr)
		r.ctr[0]++
		r.left = 4
	}
	v := r.buf[4-r.left]
	r.left--
	return v
}

// Uint64 draws 64 random bits.
func (r *Rand) Uint64() uint64 { lo := uint64(r.Uint32()); return lo | uint64(r.Uint32())<<32 }

// Float64 draws from [0, 1) with 53 random bits.
func (r *Rand) Float64() float64 { return float64(r.Uint64()>>11) / (1 << 53) }

// Uniform draws from [lo, hi).
func (r *Rand) Uniform(lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// Bool is true with probability p.
func (r *Rand) Bool(p float64) bool { return r.Float64() < p }

// Intn draws from 0 to n-1 without bias. It panics if n is not positive.
func (r *Rand) Intn(n int) int {
	if n <= 0 {
		panic("tensor: Intn of a number that is not positive")
	}
	un := uint64(n)
	limit := math.MaxUint64 - math.MaxUint64%un
	for {
		if v := r.Uint64(); v < limit {
			return int(v % un)
		}
	}
}

// Norm draws from the standard normal distribution (Box-Muller, cosine branch).
func (r *Rand) Norm() float64 {
	u := 1 - r.Float64()
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*r.Float64())
}

// TruncNorm draws from a normal distribution of mean 0 and the given standard deviation, cut at ±limit
// (absolute, as in the reference initialisations).
func (r *Rand) TruncNorm(std, limit float64) float64 {
	for {
		if v := std * r.Norm(); v >= -limit && v <= limit {
			return v
		}
	}
}

// Perm is a random permutation of 0 to n-1 (Fisher-Yates).
func (r *Rand) Perm(n int) []int {
	p := make([]int, n)
	for i := range p {
		j := r.Intn(i + 1)
		p[i] = p[j]
		p[j] = i
	}
	return p
}
