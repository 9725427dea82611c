package loss

import (
	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// DefaultChunkBytes bounds the logits that exist at a time, on each side of a loss. 128 rows of 65,536 prototypes fill
// it: enough rows for the products to run at full speed, since every chunk reads all prototypes again.
const DefaultChunkBytes = 32 << 20

// pattern says which rows are compared in one unit: an image (DINO) or a masked patch (iBOT). Rows of a unit lie
// together, so that a chunk of units needs only its own chunk of logits on both sides.
type pattern struct {
	teachers, students int       // rows of a unit
	pairs              [][]int32 // for each student row of the unit, the teacher rows it is compared with
}

// count is the number of pairs of a unit.
func (p pattern) count() int {
	n := 0
	for _, m := range p.pairs {
		n += len(m)
	}
	return n
}

// imagePattern is that of DINO: the rows are the global crops, then the local ones; each is compared with the teacher's
// global crops but its own. The pairs of the global crops come first.
func imagePattern(globals, locals int) pattern {
	p := pattern{teachers: globals, students: globals + locals}
	for v := range p.students {
		var with []int32
		for g := range globals {
			if g != v {
				with = append(with, int32(g))
			}
		}
		p.pairs = append(p.pairs, with)
	}
	return p
}

// patchPattern is that of iBOT: the student's masked patch is compared with the teacher's patch at the same position.
func patchPattern() pattern { return pattern{teachers: 1, students: 1, pairs: [][]int32{{0}}} }

// prototypeLoss is the cross-entropy between teacher and student rows over K prototypes. It never holds the logits of
// all rows: it goes through the units in chunks, forms both sides' logits, and turns the student's at once into the
// gradients of features and prototypes.
//
// What it holds at its peak beside its arguments, with c = min(units, chunk) units: logits [c·students, K] and
// [c·teachers, K], and the prototypes' gradient, which the student's last layer needs in any case. Sinkhorn-Knopp
// reads the teacher's logits five times; if they do not fit one chunk they are computed anew each time.
type prototypeLoss struct {
	pattern  pattern
	k, most  int            // prototypes; units in a chunk
	starts   *tensor.Tensor // i32 [most·students+1]: pairs of each student row
	rows     *tensor.Tensor // i32 [most·pairs]: teacher rows, counted inside the chunk
	centring *centring
}

// newPrototypeLoss makes the tables for up to units units of a micro-batch, and all of a step's for the targets.
func newPrototypeLoss(b kernels.Backend, dtype tensor.DType, u pattern, k, units, chunk int, c *centring) (*prototypeLoss, error) {
	p := &prototypeLoss{pattern: u, k: k, centring: c}
	p.most = chunkUnits(units, chunk, k, dtype, u)
	starts, rows := []int32{0}, []int32(nil)
	for i := range p.most {
		for _, m := range u.pairs {
			for _, t := range m {
				rows = append(rows, int32(i*u.teachers)+t)
			}
			starts = append(starts, int32(len(rows)))
		}
	}
	var err error
	if p.starts, err = upload(b, starts); err == nil {
		p.rows, err = upload(b, rows)
	}
	return p, err
}

// chunkUnits is the number of units whose logits of one side fit in chunk bytes, one at least.
func chunkUnits(units, chunk, k int, dtype tensor.DType, u pattern) int {
	return max(1, min(units, chunk/(k*dtype.Size()*max(u.students, u.teachers))))
}

// upload copies an index table to memory that lives as long as the term.
func upload(b kernels.Backend, host []int32) (*tensor.Tensor, error) {
	return kernels.FromHost(b, tensor.FromI32(host, len(host)))
}

// logitBytes is the memory of one chunk of logits on both sides of a loss made for up to most units of a micro-batch, with
// the given number of units at hand.
func (e *Env) logitBytes(u pattern, k, most, units int) int {
	units = min(units, chunkUnits(most, e.ChunkBytes, k, e.DType, u))
	return units * (u.students + u.teachers) * k * e.DType.Size()
}

// prototypeInputs is one evaluation of the loss.
type prototypeInputs struct {
	Student  *tensor.Tensor // [units·students, b] normalised features
	DStudent *tensor.Tensor // its gradient, written (or added to); nil for none
	Add      bool           // add to DStudent

	Prototypes *autograd.Var  // [K, b] of the student
	Teacher    *tensor.Tensor // [units·teachers, b'], of the teacher's own width
	TeacherW   *tensor.Tensor // [K, b']

	Weights  *tensor.Tensor // [units·pairs]
	Loss     *tensor.Tensor // [units·pairs], written: weighted, one for each pair
	STemp    float64
	TTemp    float64
	Observed *Observation // nil when nobody watches
}

// run evaluates the loss, adds the gradients, and adds to the mean of the teacher's logits in centring.mean.
func (p *prototypeLoss) run(t *autograd.Tape, in prototypeInputs) {
	u, bk := p.pattern, t.B
	units := in.Teacher.Dim(0) / u.teachers
	if units == 0 {
		return
	}
	width := in.Student.Dim(1)
	sInv, tInv := 1/in.STemp, 1/in.TTemp
	most := min(p.most, units)
	s := t.A.New(t.DType, most*u.students, p.k)
	z := &teacherLogits{loss: p, tape: t, features: in.Teacher, w: in.TeacherW, buf: t.A.New(t.DType, most*u.teachers, p.k)}
	slse := t.A.New(t.StatType(), most*u.students)
	tlse := t.A.New(t.StatType(), units*u.teachers)
	for lo := 0; lo < units; lo += p.most {
		hi := min(lo+p.most, units)
		n := hi - lo
		rows := n * u.students
		ts := z.chunk(lo, hi)
		lse := tlse.Rows(lo*u.teachers, hi*u.teachers)
		p.centring.finish(t, ts, lse, tInv)
		f := in.Student.Rows(lo*u.students, hi*u.students)
		ss, sl := s.Rows(0, rows), slse.Rows(0, rows)
		bk.Gemm(kernels.Gemm{M: rows, N: p.k, K: width, Out: ss, A: f, B: in.Prototypes.Value, TransB: true})
		bk.RowLogSumExp(sl, ss, nil, sInv)
		ce := kernels.CrossEntropy{
			Loss: in.Loss.Rows(lo*u.count(), hi*u.count()), S: ss, SLSE: sl, T: ts, TLSE: lse, Centre: p.centring.potential(),
			SInvTemp: sInv, TInvTemp: tInv, Starts: p.starts.Rows(0, rows+1), Rows: p.rows.Rows(0, n*u.count()),
			Weights: in.Weights.Rows(lo*u.count(), hi*u.count()),
		}
		if in.DStudent != nil || in.Prototypes.NeedsGrad() {
			ce.DS = ss
		}
		bk.CrossEntropy(ce)
		if in.DStudent != nil {
			df := in.DStudent.Rows(lo*u.students, hi*u.students)
			bk.Gemm(kernels.Gemm{M: rows, N: width, K: p.k, Out: df, A: ss, B: in.Prototypes.Value, Accumulate: in.Add})
		}
		if in.Prototypes.NeedsGrad() {
			dw, acc := t.GradBuffer(in.Prototypes)
			bk.Gemm(kernels.Gemm{M: p.k, N: width, K: rows, Out: dw, A: ss, TransA: true, B: f, Accumulate: acc})
		}
		if in.Observed != nil {
			in.Observed.addTargets(t, ts, lse, p.centring.potential(), tInv)
		}
	}
	t.A.Free(tlse)
	t.A.Free(slse)
	t.A.Free(z.buf)
	t.A.Free(s)
}

// prepare forms the targets of the whole batch from all of the teacher's rows; total is their number in all processes.
func (p *prototypeLoss) prepare(t *autograd.Tape, head TeacherHead, invTemp float64, total int) {
	p.centring.seen, p.centring.total = false, total
	if !p.centring.sinkhorn || head.Features.Dim(0) == 0 {
		return
	}
	rows := min(p.most*p.pattern.teachers, head.Features.Dim(0))
	z := &teacherLogits{loss: p, tape: t, features: head.Features, w: head.Prototypes(), buf: t.A.New(t.DType, rows, p.k)}
	lse := t.A.New(t.StatType(), z.rows())
	p.centring.prepare(z, lse, invTemp)
	t.A.Free(lse)
	t.A.Free(z.buf)
}

// teacherLogits computes the teacher's logits chunk by chunk, and keeps them where one chunk holds all rows.
type teacherLogits struct {
	loss     *prototypeLoss
	tape     *autograd.Tape
	features *tensor.Tensor
	w, buf   *tensor.Tensor
	done     bool // buf holds all rows
}

// rows is the number of teacher rows.
func (z *teacherLogits) rows() int { return z.features.Dim(0) }

// each calls fn for every chunk of the logits, with its first row.
func (z *teacherLogits) each(fn func(logits *tensor.Tensor, row int)) {
	u := z.loss.pattern.teachers
	units := z.rows() / u
	for lo := 0; lo < units; lo += z.loss.most {
		fn(z.chunk(lo, min(lo+z.loss.most, units)), lo*u)
	}
}

// chunk is the logits of units lo to hi, valid until the next call.
func (z *teacherLogits) chunk(lo, hi int) *tensor.Tensor {
	u := z.loss.pattern.teachers
	f := z.features.Rows(lo*u, hi*u)
	out := z.buf.Rows(0, f.Dim(0))
	if !z.done {
		z.tape.B.Gemm(kernels.Gemm{M: f.Dim(0), N: z.loss.k, K: f.Dim(1), Out: out, A: f, B: z.w, TransB: true})
		z.done = f.Dim(0) == z.rows()
	}
	return out
}
