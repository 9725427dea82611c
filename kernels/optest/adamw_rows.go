package optest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/tensor"
)

// entry is the operands of one line of the parameter table.
type entry struct {
	param, grad, m, v, ema, half, ema16 *operand
	kernels.ParamEntry
}

// tableOf makes n entries of lengths around the chunk edges: with and without teacher and half copies, frozen, skipped,
// with f32 and bf16 gradients, in three clip groups of which one is empty.
func tableOf(r *row, lengths []int) []*entry {
	master := r.statType()
	var list []*entry
	for i, n := range lengths {
		e := &entry{ParamEntry: kernels.ParamEntry{
			LRMul: []float64{1, 0.2, 0.75}[i%3], WDMul: []float64{1, 0, 2}[(i+1)%3], Group: 2 * (i % 2),
			Frozen: i%7 == 3, Skip: i%7 == 5,
		}}
		name := fmt.Sprintf("[%d].", i)
		gradType := r.dtype
		if i%4 == 1 {
			gradType = master
		}
		e.param = r.inout(name+"Param", master, normal(1), n)
		if !e.Frozen {
			e.grad = r.inAs(name+"Grad", gradType, normal(0.3), n)
			e.m = r.inout(name+"M", master, normal(0.1), n)
			e.v = r.inout(name+"V", master, uniform(1e-4, 0.1), n)
		}
		if i%5 != 4 {
			e.ema = r.inout(name+"EMA", master, normal(1), n)
		}
		if i%3 != 1 {
			e.half = halfOf(r, name+"Half", e.param)
			if e.ema != nil {
				e.ema16 = halfOf(r, name+"EMA16", e.ema)
			}
		}
		list = append(list, e)
	}
	return list
}

func halfOf(r *row, name string, master *operand) *operand {
	o := r.add(name, scratch, tensor.BF16, nil, master.shape)
	o.half = true
	for i, v := range master.val {
		o.val[i] = round(tensor.BF16, v)
	}
	return o
}

// bind makes the parameter table of the operands' current tensors, once for each backend.
func bind(list []*entry) func() *kernels.ParamTable {
	var table *kernels.ParamTable
	return func() *kernels.ParamTable {
		if table != nil && table.Entries[0].Param == list[0].param.t {
			return table
		}
		table = &kernels.ParamTable{Groups: 3}
		for _, e := range list {
			p := e.ParamEntry
			p.Param, p.Grad, p.M, p.V = e.param.t, tensorOf(e.grad), tensorOf(e.m), tensorOf(e.v)
			p.EMA, p.Half, p.EMA16 = tensorOf(e.ema), tensorOf(e.half), tensorOf(e.ema16)
			table.Entries = append(table.Entries, p)
		}
		return table
	}
}

func adamwRows() []*spec {
	var list []*spec
	tables := [][]int{{1}, {17, 1, 33}, edges, {4096, 4097, 70000, 3}, repeat(5, 300)}
	for _, lengths := range tables {
		n := int64(0)
		for _, l := range lengths {
			n += int64(l)
		}
		name := fmt.Sprintf("%d entries", len(lengths))
		list = append(list, &spec{op: "GradSquares", name: name, work: 2 * n, build: gradSquares(lengths)})
		steps := []int{1, 2, 1000}
		if n > 50_000 {
			steps = steps[1:2]
		}
		for _, step := range steps {
			list = append(list, &spec{op: "AdamW", name: fmt.Sprintf("%s/step %d", name, step), work: kernels.AdamWFLOPs * n, build: adamw(lengths, step, -1, 1)})
		}
		list = append(list, &spec{op: "AdamW", name: name + "/not finite", work: kernels.AdamWFLOPs * n, build: adamw(lengths, 3, -1, math.NaN())})
		for _, missed := range slices.Compact([]int{0, 1, steps[len(steps)-1] - 1}) {
			list = append(list, &spec{op: "AdamW", name: fmt.Sprintf("%s/%d missed", name, missed), work: kernels.AdamWFLOPs * n,
				build: adamw(lengths, steps[len(steps)-1], missed, 1)})
		}
	}
	large, medium := repeat(1<<20, 4), repeat(100_003, 4)
	list = append(list,
		&spec{op: "GradSquares", name: "bench", work: 8 << 20, size: bench, build: gradSquares(large)},
		&spec{op: "AdamW", name: "bench", work: kernels.AdamWFLOPs * 4 << 20, size: bench, build: adamw(large, 10, -1, 1)},
		&spec{op: "GradSquares", name: "split", work: 800_024, size: split, build: gradSquares(medium)},
		&spec{op: "AdamW", name: "split", work: kernels.AdamWFLOPs * 400_012, size: split, build: adamw(medium, 10, -1, 1)})
	list = append(list, guardRows()...)
	list = append(list, emaRows()...)
	return list
}

func gradSquares(lengths []int) func(r *row) {
	return func(r *row) {
		entries := tableOf(r, lengths)
		y := r.outStat("out", 3)
		table := bind(entries)
		r.call = func(b kernels.Backend) { b.GradSquares(y.t, table()) }
		r.unmoved = func() int64 {
			n := int64(0)
			for _, e := range entries {
				n += e.param.moved() + e.m.moved() + e.v.moved() + e.ema.moved() + e.half.moved() + e.ema16.moved()
				if e.Skip {
					n += e.grad.moved()
				}
			}
			return n
		}
		r.flops = r.work
		r.bound = func() {
			n := [3]int{}
			for _, e := range entries {
				if !e.Frozen && !e.Skip {
					n[e.Group] += len(e.grad.val)
				}
			}
			each(y, func(g int) float64 { return (gamma(n[g]) + 2*u) * y.want[g] })
		}
	}
}

// adamw is a row with a count of missed steps, or, where that is negative, without one.
func adamw(lengths []int, step, missed int, finite float64) func(r *row) {
	return func(r *row) {
		s := kernels.AdamWStep{Step: step, LR: 2e-3, WD: 0.04, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Momentum: 0.996}
		entries := tableOf(r, lengths)
		scale := r.stat("scale", uniform(0.3, 1), 3)
		scale.val[1] *= finite // the empty group, so that only looking at every scale helps
		table := bind(entries)
		if missed < 0 {
			r.call = func(b kernels.Backend) { b.AdamW(table(), scale.t, s) }
		} else {
			count := r.stat("missed", nil, 1)
			count.val[0] = float64(missed)
			r.call = func(b kernels.Backend) {
				s := s
				s.Missed = count.t
				b.AdamW(table(), scale.t, s)
			}
		}
		r.unmoved = func() int64 {
			n := int64(0)
			for _, e := range entries {
				if e.Frozen || e.Skip {
					n += e.param.moved()/2 + e.grad.moved() + e.m.moved() + e.v.moved() // read for the teacher only
				}
			}
			return n
		}
		r.flops = r.work
		r.bound = func() {
			if math.IsNaN(finite) {
				return // nothing may change: every bound stays 0
			}
			for _, e := range entries {
				e.bounds(scale.val[e.Group], s, missed)
			}
		}
		r.verify = func() error {
			for i, e := range entries {
				if err := halves16(e.half, e.param); err != nil {
					return fmt.Errorf("entry %d: %w", i, err)
				}
				if err := halves16(e.ema16, e.ema); err != nil {
					return fmt.Errorf("entry %d: %w", i, err)
				}
			}
			return nil
		}
	}
}

func (e *entry) bounds(scale float64, s kernels.AdamWStep, missed int) {
	if !e.Frozen && !e.Skip {
		lr := s.LR * e.LRMul
		done := float64(s.Step - max(missed, 0))
		fix1 := 1 - math.Pow(s.Beta1, done)
		fix2 := 1 - math.Pow(s.Beta2, done)
		corrections := 16 * u
		if missed >= 0 {
			// A device works them out itself, by one square and one sum for each bit of the number of updates.
			corrections += 3 * u * (1 + math.Log2(done))
		}
		for i, p := range e.param.val {
			g := math.Abs(scale * e.grad.val[i])
			m := s.Beta1*math.Abs(e.m.val[i]) + (1-s.Beta1)*g
			e.m.err[i] = 4 * u * m
			e.v.err[i] = 5 * u * e.v.want[i]
			e.param.err[i] = 3*u*math.Abs(p) + corrections*lr*(m/fix1)/(math.Sqrt(e.v.want[i]/fix2)+s.Eps)
		}
	}
	if e.ema == nil {
		return
	}
	for i, v := range e.ema.val {
		p := math.Abs(e.param.want[i])
		e.ema.err[i] = 3*u*(s.Momentum*math.Abs(v)+(1-s.Momentum)*p) + (1-s.Momentum)*(e.param.err[i]+u*p)
	}
}

// halves16 wants the half copy to be the rounding of what the master holds now.
func halves16(half, master *operand) error {
	if half == nil {
		return nil
	}
	for i, v := range master.got {
		if want := round(tensor.BF16, v); half.got[i] != want {
			return fmt.Errorf("%s[%d] is %v, want %v, the bf16 of %s %v", half.name, i, half.got[i], want, master.name, v)
		}
	}
	return nil
}

func guardRows() []*spec {
	var list []*spec
	for _, c := range []struct {
		name            string
		squares, losses []float64
		maxNorm         float64
	}{
		{"some clipped", []float64{0, 1, 8.9, 9, 9.1, 1e6, 1e-12}, []float64{1, -2, 3}, 3},
		{"one", []float64{100}, []float64{1}, 0.5},
		{"off", []float64{1, 100, 1e20}, nil, 0},
		{"infinite", []float64{1, math.Inf(1), 2}, nil, 3},
		{"not a number", []float64{1, 4, math.NaN()}, []float64{1}, 3},
		{"off but infinite", []float64{math.Inf(1), 2}, nil, 0},
		{"a loss is not a number", []float64{1, 4}, []float64{1, math.NaN(), 2}, 3},
		{"a loss is infinite", []float64{1}, []float64{math.Inf(-1)}, 0},
		{"many", append(make([]float64, 300), 40, 50), append(make([]float64, 270), 1), 1},
		{"the last of many losses", []float64{1}, append(make([]float64, 270), math.NaN()), 1},
	} {
		list = append(list, &spec{op: "Guard", name: c.name, work: int64(len(c.squares) + len(c.losses)), build: func(r *row) {
			values := func(name string, list []float64) *operand {
				if list == nil {
					return nil
				}
				x := r.stat(name, nil, len(list))
				for i, v := range list {
					x.val[i] = round(x.dtype, v)
				}
				return x
			}
			squares, losses := values("squares", c.squares), values("losses", c.losses)
			scale, missed := r.outStat("scale", len(c.squares)), r.outStat("missed", 1)
			r.call = func(b kernels.Backend) {
				b.Guard(kernels.Guard{Scale: scale.t, Missed: missed.t, Squares: squares.t, Losses: tensorOf(losses), MaxNorm: c.maxNorm})
			}
			r.bound = func() { each(scale, func(g int) float64 { return 6 * u * scale.want[g] }) }
		}})
	}
	return list
}

func emaRows() []*spec {
	var list []*spec
	for _, n := range append([]int{1024, 1025, 5000}, edges...) {
		for name, finite := range map[string]float64{"": 1, "/not finite": math.NaN()} {
			list = append(list, &spec{op: "EMA", name: fmt.Sprint(n, name), work: 3 * int64(n), build: func(r *row) {
				const momentum = 0.9
				dst := r.inout("dst", r.statType(), normal(1), n)
				src, scale := r.stat("src", normal(1), n), r.stat("scale", uniform(0.3, 1), 3)
				scale.val[1] *= finite
				r.call = func(b kernels.Backend) { b.EMA(dst.t, src.t, scale.t, momentum) }
				r.bound = func() {
					for i, v := range dst.val {
						if finite == finite {
							dst.err[i] = 3 * u * (momentum*math.Abs(v) + (1-momentum)*math.Abs(src.val[i]))
						}
					}
				}
			}})
		}
	}
	slices.SortFunc(list, func(a, b *spec) int { return strings.Compare(a.name, b.name) })
	return list
}
