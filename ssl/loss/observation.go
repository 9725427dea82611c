package loss

import (
	"fmt"
	"math"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// Observation collects, during one step, what tells healthy training from collapse: the teacher's features and the
// targets of the DINO loss.
type Observation struct {
	k       int
	use     *tensor.Tensor // [K]: sum of the target probabilities
	part    *tensor.Tensor // [K]
	entropy *tensor.Tensor // [chunks+1]
	rows    []int          // of each chunk
	moments *tensor.Tensor // [2, D] mean and variance of the normalised features
	loss    *tensor.Tensor // [parts] of the DINO loss
	weight  float64        // of the DINO loss
}

// NewObservation makes room for the steps of e.
func NewObservation(e Env) (*Observation, error) {
	k, u := e.CLSHead.Prototypes, imagePattern(e.Globals, e.Locals)
	most := chunkUnits(e.Images, e.ChunkBytes, k, e.DType, u)
	chunks := (e.Images + most - 1) / most * (e.Local / e.Images)
	o := &Observation{k: k, rows: make([]int, 0, chunks)}
	var err error
	for _, x := range []struct {
		dst   **tensor.Tensor
		shape []int
	}{{&o.use, []int{k}}, {&o.part, []int{k}}, {&o.entropy, []int{chunks + 1}}, {&o.moments, []int{2, e.TeacherDim}}} {
		if *x.dst, err = tensor.New(e.Backend.Allocator(), e.Stat, x.shape...); err != nil {
			return nil, fmt.Errorf("loss: collapse watch: %w", err)
		}
	}
	return o, nil
}

// Begin starts a step.
func (o *Observation) Begin(b kernels.Backend) {
	o.rows = o.rows[:0]
	b.Fill(o.use, 0)
	o.loss, o.weight = nil, 0
}

// addTargets adds one chunk of teacher logits. It destroys them.
func (o *Observation) addTargets(t *autograd.Tape, x, lse, centre *tensor.Tensor, invTemp float64) {
	t.B.ColSumExp(o.part, x, centre, lse, invTemp)
	t.B.Axpy(o.use, 1, o.part)
	t.B.SoftmaxRows(x, x, centre, lse, invTemp)
	i := len(o.rows)
	t.B.Entropy(o.entropy.Rows(i, i+1), x)
	o.rows = append(o.rows, x.Dim(0))
}

// Features looks at the teacher's CLS tokens [R, D] of the step's first micro-batch.
func (o *Observation) Features(t *autograd.Tape, x *tensor.Tensor) {
	y := t.A.New(t.DType, x.Dim(0), x.Dim(1))
	norm := t.A.New(t.StatType(), x.Dim(0))
	t.B.L2Normalize(y, norm, x, normalizeEps)
	d := x.Dim(1)
	t.B.ColMoments(o.moments.Rows(0, 1).Reshape(d), o.moments.Rows(1, 2).Reshape(d), y)
	t.A.Free(norm)
	t.A.Free(y)
}

// Health is what an Observation has found.
type Health struct {
	// FeatureStd is the standard deviation of the L2-normalised teacher features, averaged over channels and times √D:
	// 1 is what independent features have.
	FeatureStd float64
	// PrototypeEntropy is the entropy of the mean teacher probabilities over ln K: 1 when all prototypes are used
	// alike. TargetEntropy is the mean entropy of single targets over ln K.
	PrototypeEntropy, TargetEntropy float64
	// KL is the mean divergence KL(teacher ‖ student) over the DINO pairs, in nats.
	KL float64
}

// Read brings the results of a step to the host.
func (o *Observation) Read(b kernels.Backend) (h Health) {
	i := len(o.rows)
	b.Entropy(o.entropy.Rows(i, i+1), o.use)
	entropy, moments := kernels.ToHost(b, o.entropy), kernels.ToHost(b, o.moments)
	d := o.moments.Dim(1)
	for c := d; c < 2*d; c++ {
		h.FeatureStd += math.Sqrt(max(moments.At(c), 0))
	}
	h.FeatureStd *= math.Sqrt(float64(d)) / float64(d)
	logK := math.Log(float64(o.k))
	h.PrototypeEntropy = entropy.At(i) / logK
	rows, target := 0, 0.0
	for j, n := range o.rows {
		// Entropy normalises over the whole chunk, which adds the logarithm of its number of rows.
		target += float64(n) * (entropy.At(j) - math.Log(float64(n)))
		rows += n
	}
	target /= float64(rows)
	h.TargetEntropy = target / logK
	crossEntropy := 0.0
	if o.loss != nil && o.weight != 0 {
		parts := kernels.ToHost(b, o.loss)
		crossEntropy = (parts.At(0) + parts.At(1)) / o.weight
	}
	h.KL = crossEntropy - target
	return h
}
