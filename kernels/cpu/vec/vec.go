package vec

//go:generate go run ./gen

// Constants of the exponential: exp(x) = 2^n·e^r with n = round(x·log2 e) and r = x - n·ln 2 in two steps
// (ln2Hi has trailing zero bits, so n·ln2Hi is exact). Adding magic = 1.5·2^23+127 rounds to an integer and
// leaves the exponent field of 2^n in the low bits of the sum. The coefficients are a minimax fit of
// (e^r-1-r)/r² for the relative error of e^r, below 5e-9, on [-ln2/2, ln2/2]. gen/constants.go has the same.
const (
	log2e = 1.44269504088896341
	ln2Hi = 0.693359375
	ln2Lo = -2.12194440e-4
	expHi = 88.8
	expLo = -87.9
	magic = 0x1.8p23 + 127
	expC2 = 0.49999994
	expC3 = 0.1666652
	expC4 = 0.0416684
	expC5 = 0.008368851
	expC6 = 0.001381432
)

// Adam holds the factors of one AdamW update of one tensor, worked out once a step in float64. The assembly
// reads the fields by their order.
type Adam struct {
	Scale       float32 // gradient scale (clipping)
	Decay       float32 // lr·wd
	Beta1       float32
	OneBeta1    float32 // 1-β1
	Beta2       float32
	OneBeta2    float32 // 1-β2
	Rate        float32 // lr/(1-β1^t)
	RootScale   float32 // 1/sqrt(1-β2^t)
	Eps         float32
	Momentum    float32 // teacher
	OneMomentum float32 // 1-momentum
}

// SumExp is Σ exp((x-c)·a + b); c may be nil.
func SumExp(x, c []float32, a, b float32) float32 {
	if c == nil {
		return sumExp(x, a, b)
	}
	return sumExpDiff(x, c, a, b)
}

// AddExp is acc += exp((x-c)·a + b); c may be nil.
func AddExp(acc, x, c []float32, a, b float32) {
	if c == nil {
		addExp(acc, x, a, b)
		return
	}
	addExpDiff(acc, x, c, a, b)
}

// Exp is dst = exp((x-c)·a + b); c may be nil, dst may be x.
func Exp(dst, x, c []float32, a, b float32) {
	if c == nil {
		expOf(dst, x, a, b)
		return
	}
	expDiff(dst, x, c, a, b)
}

// Cross adds w·p to acc for p = exp((t-c)·ta + tb) and returns Σ p·(s·sa + sb); c may be nil.
func Cross(acc, t, c, s []float32, ta, tb, sa, sb, w float32) float32 {
	if c == nil {
		return cross(acc, t, s, ta, tb, sa, sb, w)
	}
	return crossDiff(acc, t, c, s, ta, tb, sa, sb, w)
}

// AdamW updates p, m and v from the gradient g and, where it is not nil, the teacher ema from the new p.
func AdamW(p, m, v, g, ema []float32, k *Adam) {
	if ema == nil {
		adamW(p, m, v, g, k)
		return
	}
	adamWLerp(p, m, v, g, ema, k)
}
