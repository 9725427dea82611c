package vec

// Constants of the exponential: exp(x) = 2^n·e^r with n = round(x·log2 e) and r = x - n·ln 2 in two steps
// (ln2Hi has trailing zero bits, so n·ln2Hi is exact). The coefficients are a minimax fit of e^r on
// [-ln2/2, ln2/2].
const (
	log2e  = 1.44269504088896341
	ln2Hi  = 0.693359375
	ln2Lo  = -2.12194440e-4
	expMax = 88.7228
	expMin = -87.3365
	expC2  = 0.5
	expC3  = 1.66665524e-1
	expC4  = 4.16695364e-2
	expC5  = 8.37312452e-3
	expC6  = 1.37805939e-3
)

// Adam holds the factors of one AdamW update of one tensor, worked out once a step in float64.
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
