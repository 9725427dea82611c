package eval

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/optimize"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Probe is a linear classifier on standardised features, trained to convergence:
//
//	min over W, c of  ½‖W‖² + C·Σ_i CE(softmax(W·(x_i - mean)/std + c), y_i)
//
// by L-BFGS, the definition of scikit-learn's LogisticRegression behind a StandardScaler. A probe of a few
// gradient steps ranks features by their scale, not by what they hold.
type Probe struct {
	C             float64 // inverse regularisation; 1 is usual
	MaxIterations int     // of L-BFGS; 0 means 500
}

// Linear is a trained probe.
type Linear struct {
	Classes, Dim int
	Weight       []float64 // [Classes, Dim] on standardised features
	Bias         []float64 // [Classes]
	Mean, Std    []float64 // [Dim]
	Iterations   int
	Converged    bool
}

// Fit trains the probe on the labelled rows of train.
func (p Probe) Fit(b kernels.Backend, train Set) (*Linear, error) {
	train = train.labelled()
	n, d := train.X.Dim(0), train.X.Dim(1)
	classes := train.classes()
	switch {
	case n == 0:
		return nil, errors.New("linear probe: no image has a label")
	case classes < 2:
		return nil, fmt.Errorf("linear probe: %d class; it takes at least 2", classes)
	case !(p.C > 0):
		return nil, fmt.Errorf("linear probe: C is %v; it must be positive", p.C)
	}
	if p.MaxIterations == 0 {
		p.MaxIterations = 500
	}
	l := &Linear{Classes: classes, Dim: d}
	l.Mean, l.Std = moments(train.X)
	arena := tensor.NewArena(b.Allocator())
	defer arena.Release()
	f := &objective{b: b, x: l.standardised(b, arena, train.X), labels: train.Labels, classes: classes, dim: d, c: p.C}
	f.w, f.logits, f.dw = arena.New(tensor.F32, classes, d), arena.New(tensor.F32, n, classes), arena.New(tensor.F32, classes, d)
	f.host, f.hostW = tensor.Zeros(tensor.F32, n, classes), tensor.Zeros(tensor.F32, classes, d)
	size := classes*d + classes
	f.at, f.grad = make([]float64, size), make([]float64, size)
	// The products are f32: below this the gradient is rounding.
	settings := &optimize.Settings{GradientThreshold: 1e-5 * p.C * float64(n), MajorIterations: p.MaxIterations}
	problem := optimize.Problem{
		Func: func(x []float64) float64 { f.evaluate(x); return f.loss },
		Grad: func(grad, x []float64) { f.evaluate(x); copy(grad, f.grad) },
	}
	result, err := optimize.Minimize(problem, make([]float64, size), settings, &optimize.LBFGS{})
	if result == nil {
		return nil, fmt.Errorf("linear probe: %w", err)
	}
	f.evaluate(result.X)
	norm := 0.0
	for _, g := range f.grad {
		norm = math.Max(norm, math.Abs(g))
	}
	l.Weight, l.Bias = result.X[:classes*d], result.X[classes*d:]
	l.Iterations = result.MajorIterations
	// A line search that can go no lower ends with an error at a point that is the minimum to f32's accuracy.
	l.Converged = norm <= 10*settings.GradientThreshold
	return l, b.Sync()
}

// objective is the probe's loss with its gradient, remembered for the point it was last evaluated at.
type objective struct {
	b            kernels.Backend
	x, w         *tensor.Tensor
	logits, dw   *tensor.Tensor
	host, hostW  *tensor.Tensor
	labels       []int32
	classes, dim int
	c            float64
	at, grad     []float64
	loss         float64
	known        bool
}

func (f *objective) evaluate(x []float64) {
	if f.known && equal(f.at, x) {
		return
	}
	copy(f.at, x)
	f.known = true
	k, d, n := f.classes, f.dim, len(f.labels)
	for i, v := range x[:k*d] {
		f.hostW.F32()[i] = float32(v)
	}
	f.b.Upload(f.w, f.hostW)
	f.b.Gemm(kernels.Gemm{M: n, N: k, K: d, Out: f.logits, A: f.x, B: f.w, TransB: true})
	f.b.Download(f.host, f.logits)
	z, bias := f.host.F32(), x[k*d:]
	f.loss = 0
	dbias := f.grad[k*d:]
	clear(dbias)
	for i, y := range f.labels {
		row := z[i*k : (i+1)*k]
		top := math.Inf(-1)
		for j, v := range row {
			top = math.Max(top, float64(v)+bias[j])
		}
		sum := 0.0
		for j, v := range row {
			sum += math.Exp(float64(v) + bias[j] - top)
		}
		f.loss += top + math.Log(sum) - float64(row[y]) - bias[y]
		for j, v := range row {
			g := math.Exp(float64(v)+bias[j]-top) / sum
			if j == int(y) {
				g--
			}
			dbias[j] += f.c * g
			row[j] = float32(g)
		}
	}
	f.loss *= f.c
	f.b.Upload(f.logits, f.host)
	f.b.Gemm(kernels.Gemm{M: k, N: d, K: n, Out: f.dw, A: f.logits, TransA: true, B: f.x})
	f.b.Download(f.hostW, f.dw)
	for i, g := range f.hostW.F32() {
		f.loss += 0.5 * x[i] * x[i]
		f.grad[i] = x[i] + f.c*float64(g)
	}
}

func equal(a, b []float64) bool {
	for i, v := range a {
		if v != b[i] {
			return false
		}
	}
	return true
}

// moments returns the mean and the standard deviation of every column; the deviation is 1 for a constant column.
func moments(x *tensor.Tensor) (mean, std []float64) {
	n, d := x.Dim(0), x.Dim(1)
	mean, std = make([]float64, d), make([]float64, d)
	v := x.F32()
	for i := range n {
		for j, a := range v[i*d : (i+1)*d] {
			mean[j] += float64(a)
		}
	}
	for j := range mean {
		mean[j] /= float64(n)
	}
	for i := range n {
		for j, a := range v[i*d : (i+1)*d] {
			std[j] += (float64(a) - mean[j]) * (float64(a) - mean[j])
		}
	}
	for j := range std {
		std[j] = math.Sqrt(std[j] / float64(n))
		if std[j] == 0 {
			std[j] = 1
		}
	}
	return mean, std
}

// standardised returns (x - mean)/std on the device.
func (l *Linear) standardised(b kernels.Backend, a *tensor.Arena, x *tensor.Tensor) *tensor.Tensor {
	host := tensor.Zeros(tensor.F32, x.Shape()...)
	in, out := x.F32(), host.F32()
	for i, v := range in {
		j := i % l.Dim
		out[i] = float32((float64(v) - l.Mean[j]) / l.Std[j])
	}
	return kernels.FromHostIn(a, b, host)
}

// Classify returns the class of every row; of equal scores the smaller class.
func (l *Linear) Classify(x *tensor.Tensor) []int32 {
	out := make([]int32, x.Dim(0))
	scores, row := make([]float64, l.Classes), make([]float64, l.Dim)
	for i := range out {
		for j, v := range x.Rows(i, i+1).F32() {
			row[j] = (float64(v) - l.Mean[j]) / l.Std[j]
		}
		for c := range scores {
			s := l.Bias[c]
			for j, w := range l.Weight[c*l.Dim : (c+1)*l.Dim] {
				s += w * row[j]
			}
			scores[c] = s
		}
		out[i] = argmax(scores)
	}
	return out
}

// Accuracy returns the share, from 0 to 1, of the labelled rows whose class the probe predicts.
func (l *Linear) Accuracy(s Set) (float64, error) {
	s = s.labelled()
	if len(s.Labels) == 0 {
		return 0, errors.New("linear probe: no image has a label")
	}
	if s.X.Dim(1) != l.Dim {
		return 0, fmt.Errorf("linear probe: images have %d features, the probe takes %d", s.X.Dim(1), l.Dim)
	}
	return share(l.Classify(s.X), s.Labels), nil
}
