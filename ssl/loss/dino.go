package loss

import (
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/tensor"
)

// DINO is the loss between CLS tokens, over all pairs of a teacher's global crop and another student crop. Every pair
// counts the same: the total is the mean over the 2+2L pairs of an image, as in all three recipes.
type DINO struct {
	Weight  optim.Schedule
	Targets Targets
}

type dino struct {
	DINO
	env     Env
	loss    *prototypeLoss
	weights *tensor.Tensor // of every pair of a micro-batch
	filled  float64        // what weights holds
}

// New makes the term.
func (d DINO) New(e Env) (Term, error) {
	t := &dino{DINO: d, env: e}
	k, u := e.CLSHead.Prototypes, imagePattern(e.Globals, e.Locals)
	c, err := newCentring(&t.env, "dino", k, e.Local*e.Globals, d.Targets)
	if err != nil {
		return nil, err
	}
	if t.loss, err = newPrototypeLoss(e.Backend, e.DType, u, k, e.Images, e.ChunkBytes, c); err != nil {
		return nil, err
	}
	if t.weights, err = tensor.New(e.Backend.Allocator(), e.Stat, e.Images*u.count()); err != nil {
		return nil, err
	}
	t.fill(t.pairWeight(0))
	return t, nil
}

// Parts are the pairs of two global crops, and those of a local and a global one.
func (d *dino) Parts() []Part {
	return []Part{{"dino_global", "DINO loss (global)"}, {"dino_local", "DINO loss (local)"}}
}

func (d *dino) Reads() Reads { return Reads{Student: CLSHead, Teacher: CLSHead} }

func (d *dino) Prepare(b *Batch) {
	d.loss.prepare(b.Tape, b.CLSHead, 1/b.Step.TeacherTemp, d.env.Total*d.env.Globals)
}

// pairWeight is the weight of one pair.
func (d *dino) pairWeight(step int) float64 {
	return d.Weight.At(step) / float64(d.loss.pattern.count()*d.env.Total)
}

func (d *dino) fill(weight float64) {
	d.env.Backend.Fill(d.weights, weight)
	d.filled = weight
}

func (d *dino) Backward(in *Inputs) {
	t, pairs := in.Tape, d.loss.pattern.count()
	if w := d.pairWeight(in.Step.Index); w != d.filled {
		d.fill(w)
	}
	df, acc := t.GradBuffer(in.CLSHead.Features)
	loss := t.A.New(d.env.Stat, in.Place.Images*pairs)
	d.loss.run(t, prototypeInputs{
		Student: in.CLSHead.Features.Value, DStudent: df, Add: acc, Prototypes: in.CLSHead.Prototypes,
		Teacher: in.TeacherCLS.Features, TeacherW: in.TeacherCLS.Prototypes(), Weights: d.weights, Loss: loss,
		STemp: d.Targets.StudentTemp, TTemp: in.Step.TeacherTemp, Observed: in.Observe,
	})
	parts := t.A.New(d.env.Stat, pairs)
	t.B.ColSum(parts, loss.Reshape(in.Place.Images, pairs), 1, false)
	global := d.env.Globals * (d.env.Globals - 1)
	t.B.Sum(in.Loss.Rows(0, 1), parts.Rows(0, global), 1, true)
	if pairs > global {
		t.B.Sum(in.Loss.Rows(1, 2), parts.Rows(global, pairs), 1, true)
	}
	if in.Observe != nil {
		in.Observe.loss, in.Observe.weight = in.Loss, d.Weight.At(in.Step.Index)
	}
	t.A.Free(parts)
	t.A.Free(loss)
}

func (d *dino) Update(scales *tensor.Tensor) { d.loss.centring.update(scales) }

func (d *dino) State() []Named { return []Named{{"dino", d.loss.centring.centre}} }

// Cost counts the logits, the student's with their gradients.
func (d DINO) Cost(e *Env, _ int) Cost {
	h, u := e.CLSHead, imagePattern(e.Globals, e.Locals)
	rows := int64(3*u.students*h.Bottleneck + u.teachers*e.TeacherCLSHead.Bottleneck)
	return Cost{
		FLOPs: int64(e.Local) * rows * 2 * int64(h.Prototypes),
		Bytes: e.logitBytes(u, h.Prototypes, e.Images, e.Images),
	}
}
