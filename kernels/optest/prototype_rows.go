package optest

import (
	"fmt"
	"math"
	"slices"

	"github.com/dino-mx/dmx/kernels"
)

func prototypeRows() []*spec {
	var list []*spec
	shapes := append(matrices(), shape2{3, 4100}, shape2{600, 9})
	big := shape2{64, 16384}
	for _, c := range []struct {
		word   string
		spread float64
		temp   float64
		centre bool
	}{{"student", 0.5, 0.1, false}, {"teacher", 0.5, 0.04, true}, {"huge", 50, 0.04, true}} {
		logits := func(r *row, s shape2) *logits { return newLogits(r, s, c.spread, 1/c.temp, c.centre) }
		few := shapes
		if c.word == "teacher" {
			few = append(few[:len(few):len(few)], shape2{2, 65536})
		}
		if c.word == "huge" {
			few = shapes[:20]
		}
		list = append(list, named(c.word, rowsOf("RowLogSumExp", kernels.RowLogSumExpFLOPs, few, func(r *row, s shape2) { logits(r, s).rowLogSumExp(r) }))...)
		list = append(list, named(c.word, rowsOf("ColSumExp", kernels.ColSumExpFLOPs, few, func(r *row, s shape2) { logits(r, s).colSumExp(r) }))...)
		list = append(list, named(c.word, rowsOf("SoftmaxRows", kernels.SoftmaxRowsFLOPs, few, func(r *row, s shape2) { logits(r, s).softmaxRows(r, false) }))...)
		if c.word == "teacher" {
			list = append(list, named("in place", rowsOf("SoftmaxRows", kernels.SoftmaxRowsFLOPs, few[:12], func(r *row, s shape2) { logits(r, s).softmaxRows(r, true) }))...)
			list = slices.Concat(list,
				benchOf("RowLogSumExp", kernels.RowLogSumExpFLOPs, big, func(r *row, s shape2) { logits(r, s).rowLogSumExp(r) }),
				benchOf("ColSumExp", kernels.ColSumExpFLOPs, big, func(r *row, s shape2) { logits(r, s).colSumExp(r) }),
				benchOf("SoftmaxRows", kernels.SoftmaxRowsFLOPs, big, func(r *row, s shape2) { logits(r, s).softmaxRows(r, false) }))
		}
	}
	list = append(list, rowsOf("SinkhornCentre", 3, shapes[:28], sinkhornCentre)...)
	list = append(list, benchOf("SinkhornCentre", 3, shape2{1, 65536}, sinkhornCentre)...)
	list = append(list, crossEntropyRows()...)
	list = append(list, rowsOf("Entropy", 4, shapes[:28], entropy(false))...)
	list = append(list, named("working type", rowsOf("Entropy", 4, shapes[:12], entropy(true)))...)
	return append(list, benchOf("Entropy", 4, shape2{1, 65536}, entropy(false))...)
}

// logits is a matrix of prototype scores with its temperature and centre, and the log-sum-exp of its rows.
type logits struct {
	s       shape2
	invTemp float64
	x       *operand
	centre  *operand
	lse     []float64
}

func newLogits(r *row, s shape2, spread, invTemp float64, centred bool) *logits {
	l := &logits{s: s, invTemp: invTemp, x: r.in("x", normal(spread), s.rows, s.cols)}
	if centred {
		l.centre = r.stat("centre", normal(spread/4), s.cols)
	}
	l.lse = make([]float64, s.rows)
	for n := range l.lse {
		top, sum := math.Inf(-1), 0.0
		for k := range s.cols {
			top = math.Max(top, l.arg(n, k))
		}
		for k := range s.cols {
			sum += math.Exp(l.arg(n, k) - top)
		}
		l.lse[n] = top + math.Log(sum)
	}
	return l
}

func (l *logits) c(k int) float64 {
	if l.centre == nil {
		return 0
	}
	return l.centre.val[k]
}

// arg is the scaled score, argErr what f32 may make of it, whether or not the temperature goes in first.
func (l *logits) arg(n, k int) float64 { return (l.x.val[n*l.s.cols+k] - l.c(k)) * l.invTemp }

func (l *logits) argErr(n, k int) float64 {
	return 2 * u * (math.Abs(l.x.val[n*l.s.cols+k]) + math.Abs(l.c(k))) * l.invTemp
}

// rel bounds the relative error of exp(arg - lse) for a given lse.
func (l *logits) rel(n, k int, lse float64) float64 {
	return l.argErr(n, k) + 2*u*(math.Abs(lse)+math.Abs(l.arg(n, k)-lse)) + 4*u
}

// lseErr bounds the error of the row's log-sum-exp.
func (l *logits) lseErr(n int) float64 {
	e := gamma(l.s.cols) + 6*u + 2*u*math.Abs(l.lse[n])
	for k := range l.s.cols {
		e += math.Exp(l.arg(n, k)-l.lse[n]) * (l.argErr(n, k) + 2*u*math.Abs(l.arg(n, k)-l.lse[n]))
	}
	return e
}

func (l *logits) rowLogSumExp(r *row) {
	lse := r.outStat("lse", l.s.rows)
	r.call = func(b kernels.Backend) { b.RowLogSumExp(lse.t, l.x.t, tensorOf(l.centre), l.invTemp) }
	r.bound = func() { each(lse, l.lseErr) }
}

// lseInput adds the rows' log-sum-exp as an input; the sums are then those of probabilities.
func (l *logits) lseInput(r *row) *operand {
	lse := r.stat("lse", nil, l.s.rows)
	for n, v := range l.lse {
		lse.val[n] = round(lse.dtype, v)
	}
	return lse
}

func (l *logits) colSumExp(r *row) {
	lse, y := l.lseInput(r), r.outStat("out", l.s.cols)
	r.call = func(b kernels.Backend) { b.ColSumExp(y.t, l.x.t, tensorOf(l.centre), lse.t, l.invTemp) }
	r.bound = func() {
		each(y, func(k int) float64 {
			e := float64(l.s.rows) * flush
			for n := range l.s.rows {
				e += math.Exp(l.arg(n, k)-lse.val[n]) * (l.rel(n, k, lse.val[n]) + gamma(l.s.rows))
			}
			return e
		})
	}
}

func (l *logits) softmaxRows(r *row, inPlace bool) {
	lse := l.lseInput(r)
	p := l.x
	if inPlace {
		p.role = inout
	} else {
		p = r.out("p", l.s.rows, l.s.cols)
	}
	r.call = func(b kernels.Backend) { b.SoftmaxRows(p.t, l.x.t, tensorOf(l.centre), lse.t, l.invTemp) }
	r.bound = func() {
		each(p, func(i int) float64 {
			n, k := i/l.s.cols, i%l.s.cols
			return p.want[i]*l.rel(n, k, lse.val[n]) + flush
		})
	}
}

// Sums from 0 (an empty prototype) up to a whole batch.
func sinkhornCentre(r *row, s shape2) {
	const scale, invTemp = 1.0 / 37, 1 / 0.05
	n := s.rows * s.cols
	sums := r.stat("colsum", uniform(0, 3), n)
	for i := range sums.val {
		switch i % 7 {
		case 3:
			sums.val[i] = 0
		case 5:
			sums.val[i] = round(sums.dtype, sums.val[i]*1e-30)
		}
	}
	centre := r.inout("centre", r.statType(), normal(0.2), n)
	r.call = func(b kernels.Backend) { b.SinkhornCentre(centre.t, sums.t, scale, invTemp) }
	r.bound = func() {
		each(centre, func(k int) float64 {
			log := math.Abs(math.Log(math.Max(sums.val[k], kernels.Tiny))) + math.Abs(math.Log(scale))
			return 4*u*(log+1)/invTemp + u*math.Abs(centre.val[k])
		})
	}
}

// crossCase is one pairing of student and teacher rows.
type crossCase struct {
	students, teachers, prototypes int
	pairs                          int // of each student row, at most
	centred, inPlace, noGrad       bool
}

func crossEntropyRows() []*spec {
	var list []*spec
	add := func(word string, c crossCase) *spec {
		name := fmt.Sprintf("%s/%dx%dx%d/p%d", word, c.students, c.teachers, c.prototypes, c.pairs)
		pairs := c.students * c.pairs
		list = append(list, &spec{op: "CrossEntropy", name: name, work: kernels.CrossEntropyFLOPs(c.students, pairs, c.prototypes), gradient: !c.noGrad, build: c.build})
		return list[len(list)-1]
	}
	for i, e := range edges {
		add("width", crossCase{students: 1 + i%4, teachers: 2, prototypes: e, pairs: 2, centred: i%2 == 0})
		add("height", crossCase{students: e, teachers: 1 + i%5, prototypes: 40 + i, pairs: 1 + i%3, centred: i%2 == 1})
	}
	add("wide", crossCase{students: 3, teachers: 2, prototypes: 4099, pairs: 2, centred: true})
	add("wide", crossCase{students: 2, teachers: 1, prototypes: 1028, pairs: 1, centred: true})
	add("wide", crossCase{students: 2, teachers: 2, prototypes: 65536, pairs: 1})
	add("in place", crossCase{students: 6, teachers: 4, prototypes: 130, pairs: 2, centred: true, inPlace: true})
	add("loss only", crossCase{students: 6, teachers: 4, prototypes: 131, pairs: 2, noGrad: true})
	add("bench", crossCase{students: 40, teachers: 8, prototypes: 16384, pairs: 2, centred: true}).size = bench
	add("split", crossCase{students: 10, teachers: 8, prototypes: 4096, pairs: 2, centred: true}).size = split
	return list
}

func (c crossCase) build(r *row) {
	student := newLogits(r, shape2{c.students, c.prototypes}, 0.5, 10, false)
	student.x.name = "S"
	teacher := newLogits(r, shape2{c.teachers, c.prototypes}, 0.5, 1/0.07, c.centred)
	teacher.x.name = "T"
	slse, tlse := student.lseInput(r), teacher.lseInput(r)
	starts, rows := []int32{0}, []int32(nil)
	for n := range c.students {
		count := c.pairs
		if c.students > 2 && n%4 == 1 {
			count = n % (c.pairs + 1) // some rows meet fewer teachers, or none
		}
		for range count {
			rows = append(rows, int32(r.rand.Intn(c.teachers)))
		}
		starts = append(starts, int32(len(rows)))
	}
	r.flops = kernels.CrossEntropyFLOPs(c.students, len(rows), c.prototypes)
	first, list := r.index("Starts", starts, len(starts)), r.index("Rows", rows, len(rows))
	weights := r.stat("Weights", uniform(0.1, 2), len(rows))
	loss := r.outStat("Loss", len(rows))
	var ds *operand
	switch {
	case c.inPlace:
		ds = student.x
		ds.role = inout
	case !c.noGrad:
		ds = r.out("DS", c.students, c.prototypes)
	}
	r.call = func(b kernels.Backend) {
		b.CrossEntropy(kernels.CrossEntropy{
			Loss: loss.t, DS: tensorOf(ds), S: student.x.t, SLSE: slse.t, T: teacher.x.t, TLSE: tlse.t,
			Centre: tensorOf(teacher.centre), SInvTemp: student.invTemp, TInvTemp: teacher.invTemp,
			Starts: first.t, Rows: list.t, Weights: weights.t,
		})
	}
	r.unmoved = func() int64 { // teachers that no student meets, and students that meet none
		met := make([]bool, c.teachers)
		for _, q := range rows {
			met[q] = true
		}
		n := int64(0)
		for _, m := range met {
			if !m {
				n += teacher.x.moved()/int64(c.teachers) + tlse.moved()/int64(c.teachers)
			}
		}
		for i := range c.students {
			if starts[i] == starts[i+1] {
				n += int64(c.prototypes*student.x.t.DType().Size()) + slse.moved()/int64(c.students)
			}
		}
		return n
	}
	r.bound = func() {
		for n := range c.students {
			for j := starts[n]; j < starts[n+1]; j++ {
				q, w := int(rows[j]), weights.val[j]
				// The formula takes the sum of the teacher's probabilities as 1, so that its loss may be written
				// SLSE - Σ pt·S/temperature; what f32 leaves of that 1 counts with |SLSE|.
				total, e := 0.0, 0.0
				for k := range c.prototypes {
					log := student.arg(n, k) - slse.val[n]
					pt := math.Exp(teacher.arg(q, k) - tlse.val[q])
					rel := teacher.rel(q, k, tlse.val[q])
					total += pt
					size := math.Abs(student.arg(n, k)) + math.Abs(slse.val[n])
					e += pt * ((rel+gamma(c.prototypes))*size + student.argErr(n, k) + 2*u*size)
					if ds != nil {
						ps := math.Exp(log)
						ds.err[n*c.prototypes+k] += w * student.invTemp * (ps*(student.rel(n, k, slse.val[n])+4*u) + pt*(rel+4*u) + 2*flush)
					}
				}
				loss.err[j] = w * (e + math.Abs(total-1)*math.Abs(slse.val[n]) + 2*u*math.Abs(loss.want[j]))
			}
		}
		if ds != nil {
			each(ds, func(i int) float64 {
				n := i / c.prototypes
				return ds.err[i] * (1 + float64(starts[n+1]-starts[n])*u)
			})
		}
	}
}

func entropy(working bool) func(r *row, s shape2) {
	return func(r *row, s shape2) {
		n := s.rows * s.cols
		dtype := r.statType()
		if working {
			dtype = r.dtype
		}
		x := r.inAs("x", dtype, uniform(0, 1), n)
		for i := range x.val {
			switch i % 5 {
			case 2:
				x.val[i] = 0
			case 3:
				x.val[i] = round(x.dtype, x.val[i]*1e-20)
			case 4: // subnormal
				x.val[i] = round(x.dtype, x.val[i]*1e-38)
			}
		}
		if n < 4 {
			x.val[0] = 0.25
		}
		y := r.outStat("out", 1)
		r.call = func(b kernels.Backend) { b.Entropy(y.t, x.t) }
		r.bound = func() {
			total, e := 0.0, 0.0
			for _, v := range x.val {
				total += v
			}
			for _, v := range x.val {
				if q := v / total; q > 0 {
					e += q * (math.Abs(math.Log(q)) + 1) * (2*gamma(n) + 6*u)
				}
			}
			y.err[0] = e
		}
	}
}
