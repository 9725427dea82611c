package optim

import "math"

// Schedule is a number for every iteration. Iterations count from 0; past the end a schedule keeps its last
// value.
type Schedule interface{ At(iteration int) float64 }

// Cosine is the schedule of DINO v1 and v2: Freeze zeros, Warmup values from Start to Base with both ends
// included, then Final + ½(Base-Final)(1+cos(π·i/n)) for the n iterations left, so that Final itself is reached
// only past the end.
type Cosine struct {
	Start, Base, Final    float64
	Freeze, Warmup, Total int // iterations
}

// At is the value of iteration i.
func (c Cosine) At(i int) float64 {
	switch {
	case i < c.Freeze:
		return 0
	case i >= c.Total:
		return c.Final
	case i < c.Freeze+c.Warmup:
		return linspace(c.Start, c.Base, c.Warmup, i-c.Freeze)
	}
	n := c.Total - c.Freeze - c.Warmup
	k := i - c.Freeze - c.Warmup
	return c.Final + 0.5*(c.Base-c.Final)*(1+math.Cos(math.Pi*float64(k)/float64(n)))
}

// WarmupCosine is the schedule of DINOv3: Warmup values from Start towards Peak, which is not among them, then
// Cosine values from Peak to End with both ends included, then End.
type WarmupCosine struct {
	Start, Peak, End      float64
	Warmup, Cosine, Total int // Cosine 0 means Total - Warmup
}

// At is the value of iteration i.
func (c WarmupCosine) At(i int) float64 {
	n := c.Cosine
	if n == 0 {
		n = c.Total - c.Warmup
	}
	switch k := i - c.Warmup; {
	case k < 0:
		return c.Start + (c.Peak-c.Start)*float64(i)/float64(c.Warmup)
	case k >= n:
		return c.End
	case n == 1:
		return c.Peak
	default:
		return c.End + (c.Peak-c.End)*(math.Cos(math.Pi*float64(k)/float64(n-1))+1)/2
	}
}

// Linear runs from Start to End over Warmup values, both ends included, and stays at End: the teacher
// temperature of DINO.
type Linear struct {
	Start, End float64
	Warmup     int
}

// At is the value of iteration i.
func (l Linear) At(i int) float64 {
	if i >= l.Warmup {
		return l.End
	}
	return linspace(l.Start, l.End, l.Warmup, i)
}

// Constant is the same number at every iteration.
type Constant float64

// At is the number.
func (c Constant) At(int) float64 { return float64(c) }

// Every repeats each value of another schedule for Length iterations, as a schedule by epochs needs.
type Every struct {
	Length int
	Of     Schedule
}

// At is the value of the epoch that iteration i is in.
func (e Every) At(i int) float64 { return e.Of.At(i / e.Length) }

// linspace returns element i of n evenly spaced values from a to b, both included, and a for n = 1.
func linspace(a, b float64, n, i int) float64 {
	if n <= 1 {
		return a
	}
	if i == n-1 {
		return b
	}
	return a + float64(i)*((b-a)/float64(n-1))
}

// Scaling is a rule for scaling the learning rate with the global batch size.
type Scaling uint8

// The rules of the recipes.
const (
	NoScaling    Scaling = iota
	Linear256            // lr·B/256: DINO v1
	Sqrt1024             // lr·√(B/1024): DINOv2
	FourSqrt1024         // lr·4·√(B/1024): DINOv3
)

// Scale is the learning rate for a global batch.
func (s Scaling) Scale(lr float64, batch int) float64 {
	switch s {
	case Linear256:
		return lr * float64(batch) / 256
	case Sqrt1024:
		return lr * math.Sqrt(float64(batch)/1024)
	case FourSqrt1024:
		return lr * 4 * math.Sqrt(float64(batch)/1024)
	}
	return lr
}
