package nn_test

import (
	"runtime"
	"testing"

	"github.com/dino-mx/dmx/autograd"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/tensor"
)

// trainer is a DINO step without the data: student and teacher trunk and head, a cross-entropy between all
// crops and the global ones, AdamW with the teacher's average.
type trainer struct {
	student, teacher         *nn.ViT
	studentHead, teacherHead *nn.Head
	opt                      *optim.AdamW
	tape                     *autograd.Tape
	groups                   []nn.Group
	starts, rows, weights    *tensor.Tensor
	options                  nn.Options
	step                     uint32
}

func newTrainer(tb testing.TB, b kernels.Backend, c nn.ViTConfig, prototypes int, groups []nn.Group) *trainer {
	tb.Helper()
	tr := &trainer{groups: groups}
	train := nn.Builder{Backend: b, DType: tensor.F32, Train: true}
	infer := nn.Builder{Backend: b, DType: tensor.F32}
	hc := nn.HeadConfig{In: c.Dim, Hidden: 2048, Bottleneck: 256, Prototypes: prototypes, Layers: 3, WeightNorm: true, FreezeGain: true, Depth: c.Depth + 1}
	var err error
	must := func(e error) {
		if e != nil {
			tb.Fatal(e)
		}
	}
	tr.student, err = train.NewViT(c)
	must(err)
	tr.teacher, err = infer.NewViT(c)
	must(err)
	tr.studentHead, err = train.NewHead(hc)
	must(err)
	tr.teacherHead, err = infer.NewHead(hc)
	must(err)
	tr.student.Params.Init(b, 1, nil)
	tr.studentHead.Params.Init(b, 1, nil)
	must(tr.teacher.Params.CopyFrom(b, tr.student.Params))
	must(tr.teacherHead.Params.CopyFrom(b, tr.studentHead.Params))
	tr.opt, err = optim.NewAdamW(b, []optim.Module{
		{Name: "backbone", Params: tr.student.Params, Teacher: tr.teacher.Params, Depth: c.Depth},
		{Name: "dino_head", Params: tr.studentHead.Params, Teacher: tr.teacherHead.Params, Depth: c.Depth},
	}, optim.Options{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Clip: optim.ClipPerParameter, MaxNorm: 3})
	must(err)
	tr.tape = train.NewTape()
	l, err := tr.student.Layout(groups)
	must(err)
	// Every student crop meets the teacher's two global crops of its image, except itself.
	batch := l.Groups[0].Batch / 2
	var starts, rows []int32
	var weights []float32
	for i := 0; i < l.Crops; i++ {
		starts = append(starts, int32(len(rows)))
		for g := 0; g < 2; g++ {
			if j := g*batch + i%batch; j != i {
				rows, weights = append(rows, int32(j)), append(weights, 1/float32(18*batch))
			}
		}
	}
	starts = append(starts, int32(len(rows)))
	tr.starts, tr.rows, tr.weights = tensor.FromI32(starts, len(starts)), tensor.FromI32(rows, len(rows)), tensor.FromF32(weights, len(weights))
	return tr
}

// logits are the prototype logits of the CLS tokens.
func logits(t *autograd.Tape, v *nn.ViT, h *nn.Head, groups []nn.Group, o nn.Options) *autograd.Var {
	l, err := v.Layout(groups)
	if err != nil {
		panic(err)
	}
	o.Rows = l.CLSRows()
	out := v.Forward(t, l, groups, o)
	y := h.Forward(t, out.Tokens)
	t.Release(out.Tokens)
	return y
}

func (tr *trainer) run() float64 {
	t := tr.tape
	tr.student.Params.ZeroGrad()
	tr.studentHead.Params.ZeroGrad()
	var target *autograd.Var
	t.NoGrad(func() { target = logits(t, tr.teacher, tr.teacherHead, tr.groups[:1], nn.Options{}) })
	tr.step++
	o := tr.options
	o.Draw = nn.Draw{Train: true, Seed: 1, Step: tr.step}
	s := logits(t, tr.student, tr.studentHead, tr.groups, o)
	sLSE, tLSE := t.A.New(tensor.F32, s.Dim(0)), t.A.New(tensor.F32, target.Dim(0))
	t.B.RowLogSumExp(sLSE, s.Value, nil, 10)
	t.B.RowLogSumExp(tLSE, target.Value, nil, 25)
	ds, _ := t.GradBuffer(s)
	pairs, loss := t.A.New(tensor.F32, tr.rows.Len()), t.A.New(tensor.F32, 1)
	t.B.CrossEntropy(kernels.CrossEntropy{
		Loss: pairs, DS: ds, S: s.Value, SLSE: sLSE, T: target.Value, TLSE: tLSE, SInvTemp: 10, TInvTemp: 25,
		Starts: tr.starts, Rows: tr.rows, Weights: tr.weights,
	})
	t.B.Sum(loss, pairs, 1, false)
	t.Release(target)
	t.Release(s)
	t.Backward()
	tr.opt.Step(optim.Step{LR: 1e-4, WD: 0.04, Momentum: 0.996})
	value := float64(loss.F32()[0])
	t.Reset()
	return value
}

func vitS() nn.ViTConfig {
	c := size(nn.FamilyViT, 384, 12, 6)
	c.DropPath = nn.DropPathConfig{Rate: 0.1, Linear: true}
	return c
}

// A small trainer learns the target of a fixed batch, and a step in steady state takes no memory from the
// allocator and little from Go's heap.
func TestStepAllocatesNothing(t *testing.T) {
	b := cpu.New(cpu.Options{})
	defer b.Close()
	c := vitS()
	c.Dim, c.Depth, c.Heads, c.MLPDim, c.ImageSize = 48, 12, 3, 96, 32
	tr := newTrainer(t, b, c, 512, []nn.Group{images(1, 4, 3, 32, 32), images(2, 16, 3, 16, 16)})
	first := tr.run()
	for range 3 {
		tr.run()
	}
	held, before := tr.tape.A.Reserved(), heapBytes()
	const steps = 5
	var last float64
	for range steps {
		last = tr.run()
	}
	perStep := (heapBytes() - before) / steps
	if got := tr.tape.A.Reserved(); got != held {
		t.Errorf("the arena grew from %d to %d bytes", held, got)
	}
	if perStep > 200<<10 {
		t.Errorf("a step takes %d bytes of Go heap, more than 200 KiB", perStep)
	}
	if !(last < first) {
		t.Errorf("the loss went from %g to %g", first, last)
	}
	t.Logf("loss %.4f to %.4f; Go heap %d bytes a step; arena peak %.1f MiB", first, last, perStep, float64(tr.tape.A.Peak())/(1<<20))
}

func heapBytes() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// BenchmarkDINOStep is one step of ViT-S/16 with 2 global and 8 local crops, batch 4, 65,536 prototypes.
func BenchmarkDINOStep(b *testing.B) {
	be := cpu.New(cpu.Options{})
	defer be.Close()
	for _, bc := range []struct {
		name       string
		checkpoint bool
	}{{"plain", false}, {"checkpoint", true}} {
		b.Run(bc.name, func(b *testing.B) {
			tr := newTrainer(b, be, vitS(), 65536, []nn.Group{images(1, 8, 3, 224, 224), images(2, 32, 3, 96, 96)})
			tr.options.Checkpoint = bc.checkpoint
			tr.run()
			tr.run()
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				tr.run()
			}
			b.ReportMetric(float64(tr.tape.A.Peak())/(1<<20), "arena-MiB")
		})
	}
}
