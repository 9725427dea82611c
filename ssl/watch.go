package ssl

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// observation collects what the collapse watch looks at during one step.
type observation struct {
	k       int
	use     *tensor.Tensor // [K]: sum of the target probabilities
	part    *tensor.Tensor // [K]
	entropy *tensor.Tensor // [chunks]
	rows    []int          // of each chunk
	moments *tensor.Tensor // [2, D] mean and variance of the normalised features
}

// newObservation makes room for up to chunks chunks.
func newObservation(b kernels.Backend, stat tensor.DType, k, chunks, dim int) (*observation, error) {
	o := &observation{k: k, rows: make([]int, 0, chunks)}
	var err error
	for _, x := range []struct {
		dst   **tensor.Tensor
		shape []int
	}{{&o.use, []int{k}}, {&o.part, []int{k}}, {&o.entropy, []int{chunks + 1}}, {&o.moments, []int{2, dim}}} {
		if *x.dst, err = tensor.New(b.Allocator(), stat, x.shape...); err != nil {
			return nil, fmt.Errorf("ssl: collapse watch: %w", err)
		}
	}
	return o, nil
}

func (o *observation) begin(b kernels.Backend) {
	o.rows = o.rows[:0]
	b.Fill(o.use, 0)
}

// targets adds one chunk of teacher logits. It destroys them.
func (o *observation) targets(t *autograd.Tape, x, lse, centre *tensor.Tensor, invTemp float64) {
	t.B.ColSumExp(o.part, x, centre, lse, invTemp)
	t.B.Axpy(o.use, 1, o.part)
	t.B.SoftmaxRows(x, x, centre, lse, invTemp)
	i := len(o.rows)
	t.B.Entropy(o.entropy.Rows(i, i+1), x)
	o.rows = append(o.rows, x.Dim(0))
}

// features looks at teacher CLS tokens [R, D].
func (o *observation) features(t *autograd.Tape, x *tensor.Tensor) {
	y := t.A.New(t.DType, x.Dim(0), x.Dim(1))
	norm := t.A.New(t.StatType(), x.Dim(0))
	t.B.L2Normalize(y, norm, x, normalizeEps)
	d := x.Dim(1)
	t.B.ColMoments(o.moments.Rows(0, 1).Reshape(d), o.moments.Rows(1, 2).Reshape(d), y)
	t.A.Free(norm)
	t.A.Free(y)
}

// read fills the watched metrics; ce is the mean cross-entropy of the DINO pairs.
func (o *observation) read(b kernels.Backend, m *Metrics, ce float64) {
	i := len(o.rows)
	b.Entropy(o.entropy.Rows(i, i+1), o.use)
	entropy, moments := download(b, o.entropy), download(b, o.moments)
	d := o.moments.Dim(1)
	for c := d; c < 2*d; c++ {
		m.FeatureStd += math.Sqrt(max(moments.At(c), 0))
	}
	m.FeatureStd *= math.Sqrt(float64(d)) / float64(d)
	logK := math.Log(float64(o.k))
	m.PrototypeEntropy = entropy.At(i) / logK
	rows, target := 0, 0.0
	for j, n := range o.rows {
		// Entropy normalises over the whole chunk, which adds the logarithm of its number of rows.
		target += float64(n) * (entropy.At(j) - math.Log(float64(n)))
		rows += n
	}
	target /= float64(rows)
	m.TargetEntropy = target / logK
	m.KL = ce - target
	m.Watched = true
}

// download copies a device tensor to the host.
func download(b kernels.Backend, x *tensor.Tensor) *tensor.Tensor {
	if x.Device().Kind == tensor.CPU {
		return x
	}
	host := tensor.Zeros(x.DType(), x.Shape()...)
	b.Download(host, x)
	return host
}

// CollapseKind is a way in which training can collapse.
type CollapseKind int

// Kinds of collapse.
const (
	FewPrototypes         CollapseKind = iota // one prototype wins over the centre
	FewPrototypesSinkhorn                     // few prototypes although Sinkhorn-Knopp evens them out in a batch
	UniformTargets                            // the targets no longer tell images apart
	SameFeatures                              // the teacher gives all images nearly the same feature
)

// Collapse is a sign that training collapses.
type Collapse struct {
	Kind  CollapseKind
	Value float64 // what was measured: an entropy over ln K, or the spread of the features
	Bound float64 // the least that is healthy
	KL    float64 // nats, of UniformTargets
}

// String says what was seen and what it means.
func (c Collapse) String() string {
	switch c.Kind {
	case FewPrototypes, FewPrototypesSinkhorn:
		why := "one of them is winning over the centre"
		if c.Kind == FewPrototypesSinkhorn {
			why = "Sinkhorn-Knopp evens them out only within a batch"
		}
		return fmt.Sprintf("collapse: the teacher uses few prototypes (entropy %.3f of ln K, expected %.3f or more); %s", c.Value, c.Bound, why)
	case UniformTargets:
		return fmt.Sprintf("collapse: the targets are uniform over all prototypes (entropy %.3f of ln K, KL %.2g nats); "+
			"there is nothing left to learn", c.Value, c.KL)
	}
	return fmt.Sprintf("collapse: the teacher gives all images nearly the same feature (spread %.3f, expected %.3f or more)", c.Value, c.Bound)
}

// judge appends every sign of collapse that the watched metrics show.
func (w Watch) judge(m *Metrics, sinkhorn bool) {
	low := m.PrototypeEntropy < w.PrototypeEntropyMin
	uniform := m.TargetEntropy > 0.99 && m.PrototypeEntropy > 0.99
	switch {
	case low && sinkhorn:
		m.Collapses = append(m.Collapses, Collapse{Kind: FewPrototypesSinkhorn, Value: m.PrototypeEntropy, Bound: w.PrototypeEntropyMin})
	case low:
		m.Collapses = append(m.Collapses, Collapse{Kind: FewPrototypes, Value: m.PrototypeEntropy, Bound: w.PrototypeEntropyMin})
	case uniform && m.KL < 1e-3:
		m.Collapses = append(m.Collapses, Collapse{Kind: UniformTargets, Value: m.TargetEntropy, Bound: .99, KL: m.KL})
	}
	if m.FeatureStd < w.FeatureStdMin {
		m.Collapses = append(m.Collapses, Collapse{Kind: SameFeatures, Value: m.FeatureStd, Bound: w.FeatureStdMin})
	}
}
