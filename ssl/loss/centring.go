package loss

import (
	"fmt"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/tensor"
)

// sinkhornRounds is the number of Sinkhorn-Knopp iterations of SwAV, DINOv2 and DINOv3.
const sinkhornRounds = 3

// Targets says how teacher logits become probabilities.
type Targets struct {
	// Sinkhorn takes three Sinkhorn-Knopp rounds over the batch instead of subtracting the moving centre.
	Sinkhorn       bool
	StudentTemp    float64
	CentreMomentum float64
}

// centring turns teacher logits z into targets softmax((z - c)/T).
//
// With softmax-centring c is a moving average of the mean of z over the batch, in logit space, as it was before the
// batch (DINO section 3.1). With Sinkhorn-Knopp c is found anew for every batch: the three rounds of row and
// column scaling are done on the potentials in the log domain, where nothing overflows,
//
//	c ← c + T·log(K/B·Σ_r exp((z_r - c)/T - l_r)),  l_r ← log Σ_k exp((z_rk - c_k)/T),
//
// starting from c = 0 and l_r = log of the total; the last l makes every target sum to 1.
type centring struct {
	env      *Env
	name     string // of the term, for the reduce points
	sinkhorn bool
	momentum float64
	centre   *tensor.Tensor // [K]: the moving average, or the potential of the last batch
	mean     *tensor.Tensor // [K]: mean logits of the batch (softmax-centring)
	sums     *tensor.Tensor // [K]: column sums (Sinkhorn-Knopp)
	zeros    *tensor.Tensor // i32 [rows of a step]: the index that repeats one number (Sinkhorn-Knopp)
	total    int            // rows of the step of all processes
	seen     bool           // mean holds rows of a step that the centre does not
}

// newCentring makes the centre of k prototypes, for steps of up to rows teacher rows.
func newCentring(e *Env, name string, k, rows int, t Targets) (*centring, error) {
	b := e.Backend
	c := &centring{env: e, name: name, sinkhorn: t.Sinkhorn, momentum: t.CentreMomentum}
	for _, dst := range []**tensor.Tensor{&c.centre, &c.mean} {
		x, err := tensor.New(b.Allocator(), e.Stat, k)
		if err != nil {
			return nil, fmt.Errorf("loss: centre of %d prototypes: %w", k, err)
		}
		b.Fill(x, 0)
		*dst = x
	}
	c.sums = c.mean
	if c.sinkhorn {
		var err error
		if c.zeros, err = upload(b, make([]int32, rows)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// potential is what is subtracted from the logits.
func (c *centring) potential() *tensor.Tensor { return c.centre }

// prepare finds the potential of Sinkhorn-Knopp for all rows of the step; lse [rows] is scratch.
//
// Processes need one number to start l from; its size does not matter, since a constant in l moves every c alike and
// the next l takes it back. It is the mean of their totals.
func (c *centring) prepare(z *teacherLogits, lse *tensor.Tensor, invTemp float64) {
	t, b := z.tape, z.tape.B
	rows := z.rows()
	total := t.A.New(t.StatType(), 1, 1)
	part := t.A.New(t.StatType(), c.sums.Len())
	b.Fill(c.centre, 0)
	z.each(func(x *tensor.Tensor, row int) { b.RowLogSumExp(lse.Rows(row, row+x.Dim(0)), x, nil, invTemp) })
	b.RowLogSumExp(total.Reshape(1), lse.Reshape(1, rows), nil, 1)
	if c.env.Reduce != nil {
		c.env.reduce(c.name+" Sinkhorn total", total)
		b.Scale(total, 1/float64(c.env.Processes))
	}
	b.GatherRows(lse.Reshape(rows, 1), total, c.zeros.Rows(0, rows), false)
	for round := range sinkhornRounds {
		z.each(func(x *tensor.Tensor, row int) {
			l := lse.Rows(row, row+x.Dim(0))
			if round > 0 {
				b.RowLogSumExp(l, x, c.centre, invTemp)
			}
			if row == 0 {
				b.ColSumExp(c.sums, x, c.centre, l, invTemp)
				return
			}
			b.ColSumExp(part, x, c.centre, l, invTemp)
			b.Axpy(c.sums, 1, part)
		})
		c.env.reduce(c.name+" Sinkhorn sums", c.sums)
		scale := float64(c.sums.Len())
		if round > 0 {
			scale /= float64(rows) // the first round's sums add up to 1, the others' to the number of rows
		}
		b.SinkhornCentre(c.centre, c.sums, scale, invTemp)
	}
	t.A.Free(part)
	t.A.Free(total)
}

// finish makes the log-sum-exp of the targets of one chunk of logits x, and adds the chunk to the mean of the step.
func (c *centring) finish(t *autograd.Tape, x, lse *tensor.Tensor, invTemp float64) {
	t.B.RowLogSumExp(lse, x, c.centre, invTemp)
	if !c.sinkhorn {
		t.B.ColSum(c.mean, x, 1/float64(c.total), c.seen)
		c.seen = true
	}
}

// update moves the centre towards the mean of the step's batch, unless scales holds a NaN.
func (c *centring) update(scales *tensor.Tensor) {
	if c.sinkhorn || c.total == 0 {
		return
	}
	if !c.seen {
		c.env.Backend.Fill(c.mean, 0) // all rows are those of other processes
	}
	c.env.reduce(c.name+" centre", c.mean)
	c.env.Backend.EMA(c.centre, c.mean, scales, c.momentum)
}
