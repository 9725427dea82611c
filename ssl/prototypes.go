package ssl

import (
	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// chunkBytes bounds the logits that exist at a time, on each side of a loss. 128 rows of 65,536 prototypes fill it:
// enough rows for the products to run at full speed, since every chunk reads all prototypes again.
const chunkBytes = 32 << 20

// unit is the pattern of one image (DINO) or one masked patch (iBOT): how many teacher and student rows it has, and
// which teacher rows each student row meets. Rows of a unit lie together, so that a stretch of units needs only its
// own stretch of logits on both sides.
type unit struct {
	teachers, students int
	meets              [][]int32 // for each student row of the unit, the teacher rows it meets
}

// pairs is the number of pairs of a unit.
func (u unit) pairs() int {
	n := 0
	for _, m := range u.meets {
		n += len(m)
	}
	return n
}

// imageUnit is the pattern of DINO: rows global 1, global 2, local 1…L; each meets the teacher's globals but its
// own view. The pairs of the global crops come first.
func imageUnit(locals int) unit {
	u := unit{teachers: 2, students: 2 + locals, meets: [][]int32{{1}, {0}}}
	for range locals {
		u.meets = append(u.meets, []int32{0, 1})
	}
	return u
}

// patchUnit is the pattern of iBOT: the student's masked patch meets the teacher's patch at the same place.
func patchUnit() unit { return unit{teachers: 1, students: 1, meets: [][]int32{{0}}} }

// prototypeLoss is the cross-entropy between teacher and student rows over K prototypes. It never holds the logits of
// all rows: it goes through the units in chunks, forms both sides' logits, and turns the student's at once into the
// gradients of features and prototypes.
//
// What it holds at its peak beside its arguments, with c = min(units, chunk) units: logits [c·students, K] and
// [c·teachers, K], and the prototypes' gradient, which the student's last layer needs in any case. Sinkhorn-Knopp
// reads the teacher's logits five times; if they do not fit one chunk they are computed anew each time.
type prototypeLoss struct {
	unit    unit
	k, most int            // prototypes; units in a chunk
	starts  *tensor.Tensor // i32 [most·students+1]: pairs of each student row
	rows    *tensor.Tensor // i32 [most·pairs]: teacher rows, counted inside the chunk
	zeros   *tensor.Tensor // i32 [teachers·max units]: the index that repeats one number, for Sinkhorn
	targets *centring
}

// newPrototypeLoss makes the tables for up to units units.
func newPrototypeLoss(b kernels.Backend, dtype tensor.DType, u unit, k, units, chunk int, c *centring) (*prototypeLoss, error) {
	p := &prototypeLoss{unit: u, k: k, targets: c}
	p.most = max(1, min(units, chunk/(k*dtype.Size()*max(u.students, u.teachers))))
	starts, rows := []int32{0}, []int32(nil)
	for i := range p.most {
		for _, m := range u.meets {
			for _, t := range m {
				rows = append(rows, int32(i*u.teachers)+t)
			}
			starts = append(starts, int32(len(rows)))
		}
	}
	var err error
	if p.starts, err = upload(b, starts); err == nil {
		if p.rows, err = upload(b, rows); err == nil {
			p.zeros, err = upload(b, make([]int32, units*u.teachers))
		}
	}
	return p, err
}

func upload(b kernels.Backend, host []int32) (*tensor.Tensor, error) {
	t, err := tensor.New(b.Allocator(), tensor.I32, len(host))
	if err == nil && len(host) > 0 {
		b.Upload(t, tensor.FromI32(host, len(host)))
	}
	return t, err
}

// prototypeInputs is one evaluation of the loss.
type prototypeInputs struct {
	Student  *tensor.Tensor // [units·students, b] normalised features
	DStudent *tensor.Tensor // its gradient, written (or added to); nil for none
	Add      bool           // add to DStudent

	Prototypes *autograd.Var  // [K, b] of the student
	Teacher    *tensor.Tensor // [units·teachers, b]
	TeacherW   *tensor.Tensor // [K, b]

	Weights  *tensor.Tensor // [units·pairs]
	Loss     *tensor.Tensor // [units·pairs], written: weighted, one for each pair
	STemp    float64
	TTemp    float64
	Observed *observation // nil when nobody watches
}

// run evaluates the loss, adds the gradients, and leaves the mean of the teacher's logits in targets.mean.
func (p *prototypeLoss) run(t *autograd.Tape, in prototypeInputs) {
	u, bk := p.unit, t.B
	units := in.Teacher.Dim(0) / u.teachers
	if units == 0 {
		return
	}
	width := in.Teacher.Dim(1)
	sInv, tInv := 1/in.STemp, 1/in.TTemp
	most := min(p.most, units)
	s := t.A.New(t.DType, most*u.students, p.k)
	z := &teacherLogits{loss: p, tape: t, features: in.Teacher, w: in.TeacherW, buf: t.A.New(t.DType, most*u.teachers, p.k)}
	slse := t.A.New(t.StatType(), most*u.students)
	tlse := t.A.New(t.StatType(), units*u.teachers)
	p.targets.prepare(z, tlse, tInv)
	for lo := 0; lo < units; lo += p.most {
		hi := min(lo+p.most, units)
		n := hi - lo
		rows := n * u.students
		ts := z.chunk(lo, hi)
		lse := tlse.Rows(lo*u.teachers, hi*u.teachers)
		p.targets.rows(t, ts, lse, tInv, lo == 0, units*u.teachers)
		f := in.Student.Rows(lo*u.students, hi*u.students)
		ss, sl := s.Rows(0, rows), slse.Rows(0, rows)
		bk.Gemm(kernels.Gemm{M: rows, N: p.k, K: width, Out: ss, A: f, B: in.Prototypes.Value, TransB: true})
		bk.RowLogSumExp(sl, ss, nil, sInv)
		ce := kernels.CrossEntropy{
			Loss: in.Loss.Rows(lo*u.pairs(), hi*u.pairs()), S: ss, SLSE: sl, T: ts, TLSE: lse, Centre: p.targets.potential(),
			SInvTemp: sInv, TInvTemp: tInv, Starts: p.starts.Rows(0, rows+1), Rows: p.rows.Rows(0, n*u.pairs()),
			Weights: in.Weights.Rows(lo*u.pairs(), hi*u.pairs()),
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
			dw, acc := t.Into(in.Prototypes)
			bk.Gemm(kernels.Gemm{M: p.k, N: width, K: rows, Out: dw, A: ss, TransA: true, B: f, Accumulate: acc})
		}
		if in.Observed != nil {
			in.Observed.targets(t, ts, lse, p.targets.potential(), tInv)
		}
	}
	t.A.Free(tlse)
	t.A.Free(slse)
	t.A.Free(z.buf)
	t.A.Free(s)
}

// teacherLogits computes stretches of the teacher's logits, and none twice as long as one stretch is all.
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
	u := z.loss.unit.teachers
	units := z.rows() / u
	for lo := 0; lo < units; lo += z.loss.most {
		fn(z.chunk(lo, min(lo+z.loss.most, units)), lo*u)
	}
}

// chunk is the logits of units lo to hi, valid until the next call.
func (z *teacherLogits) chunk(lo, hi int) *tensor.Tensor {
	u := z.loss.unit.teachers
	f := z.features.Rows(lo*u, hi*u)
	out := z.buf.Rows(0, f.Dim(0))
	if !z.done {
		z.tape.B.Gemm(kernels.Gemm{M: f.Dim(0), N: z.loss.k, K: f.Dim(1), Out: out, A: f, B: z.w, TransB: true})
		z.done = f.Dim(0) == z.rows()
	}
	return out
}
