package loss

import (
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/tensor"
)

// IBOT is the loss on masked patches: the teacher, which sees them, is what the student has to predict. Every crop
// counts the same, whatever the number of its masked patches; crops without a mask count with a loss of 0.
type IBOT struct {
	Weight  optim.Schedule
	Targets Targets
}

type ibot struct {
	IBOT
	env     Env
	loss    *prototypeLoss
	weights *tensor.Tensor // host [MaxMasked]
}

// New makes the term.
func (s IBOT) New(e Env) (Term, error) {
	t := &ibot{IBOT: s, env: e, weights: tensor.Zeros(e.Stat, e.MaxMasked)}
	c, err := newCentring(&t.env, "ibot", e.MaskedHead.Prototypes, e.MaxMasked, s.Targets)
	if err != nil {
		return nil, err
	}
	t.loss, err = newPrototypeLoss(e.Backend, e.DType, patchPattern(), e.MaskedHead.Prototypes, e.MaxMasked, e.ChunkBytes, c)
	return t, err
}

func (s *ibot) Parts() []Part { return []Part{{"ibot", "iBOT loss"}} }

func (s *ibot) Reads() Reads { return Reads{Student: MaskedHead, Teacher: MaskedHead} }

func (s *ibot) Prepare(b *Batch) {
	s.loss.prepare(b.Tape, b.MaskedHead, 1/b.Step.TeacherTemp, b.Masked)
}

func (s *ibot) Backward(in *Inputs) {
	weight, crops, n := s.Weight.At(in.Step.Index), float64(s.env.Globals*s.env.Total), 0
	for _, masked := range in.Counts {
		for range masked {
			s.weights.Set(n, weight/(float64(masked)*crops))
			n++
		}
	}
	if n == 0 {
		return
	}
	t := in.Tape
	df, acc := t.GradBuffer(in.MaskedHead.Features)
	weights, loss := t.A.New(s.env.Stat, n), t.A.New(s.env.Stat, n)
	t.B.Upload(weights, s.weights.Rows(0, n))
	s.loss.run(t, prototypeInputs{
		Student: in.MaskedHead.Features.Value, DStudent: df, Add: acc, Prototypes: in.MaskedHead.Prototypes,
		Teacher: in.TeacherMasked.Features, TeacherW: in.TeacherMasked.Prototypes(), Weights: weights, Loss: loss,
		STemp: s.Targets.StudentTemp, TTemp: in.Step.TeacherTemp,
	})
	t.B.Sum(in.Loss, loss, 1, true)
	t.A.Free(loss)
	t.A.Free(weights)
}

func (s *ibot) Update(scales *tensor.Tensor) { s.loss.centring.update(scales) }

func (s *ibot) State() []Named { return []Named{{"ibot", s.loss.centring.centre}} }

// Cost counts the logits, the student's with their gradients.
func (s IBOT) Cost(e *Env, masked int) Cost {
	h := e.MaskedHead
	return Cost{
		FLOPs: int64(masked) * int64(3*h.Bottleneck+e.TeacherMaskedHead.Bottleneck) * 2 * int64(h.Prototypes),
		Bytes: e.logitBytes(patchPattern(), h.Prototypes, e.MaxMasked, masked),
	}
}
