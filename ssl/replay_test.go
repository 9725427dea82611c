package ssl

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/cuda/drivertest"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/mask"
	"github.com/dino-mx/dmx/tensor"
)

// onebyone hides what a backend offers beyond the operations, so that every one of them is asked for by itself.
type onebyone struct{ kernels.Backend }

// weights is every parameter of student and teacher, for a comparison of bits.
func weights(t *testing.T, tr *Trainer) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for name, n := range map[string]*Network{"student ": tr.Student, "teacher ": tr.Teacher.Network} {
		for _, p := range n.parts() {
			for _, q := range p.params.All() {
				if q.Shape.Len() > 0 {
					out[name+q.Name] = bytes.Clone(kernels.ToHost(tr.backend, q.Value()).Bytes())
				}
			}
		}
	}
	if err := tr.backend.Sync(); err != nil {
		t.Fatal(err)
	}
	return out
}

// Steps that are replayed as graphs, with batches fed beside them, on a device that does everything as late as it may,
// give the bits of steps whose operations are asked for one by one: rates, seeds and the number of masked patches change
// from step to step, and the thawing of the last layer changes the sequence itself. In the steady state a step is
// launched as a whole and the host neither waits for it nor allocates. A trainer that resumes goes on to the same bits.
func TestReplayedSteps(t *testing.T) {
	if testing.Short() {
		t.Skip("interprets kernels")
	}
	s := micro()
	s.Batch, s.Views = 2, MultiCrop(8, 1, 4)
	s.Watch.Every = 0
	s.MeasureEvery = 8 // the first of the steps only
	s.Backbone.DropPath = nn.DropPathConfig{Rate: 0.2}
	s.Backbone.Depth = 1
	s.Schedules.FreezeLastLayer, s.Schedules.LastLayer = 4, optim.LastLayerSkipped
	const steps = 6
	plain, err := newTrainer(onebyone{cuda.New(ptx.NewDriver(1<<28, 1), cuda.Versions{})}, tensor.BF16, s)
	if err != nil {
		t.Fatal(err)
	}
	masked := map[int]bool{}
	for i := range steps {
		m, err := plain.Step(batches(&s, i))
		if err != nil {
			t.Fatal(err)
		}
		if m.Measured != (i == 0) {
			t.Errorf("step %d: measured %v", i, m.Measured)
		}
		masked[m.Masked] = true
	}
	if len(masked) < 2 {
		t.Errorf("every step masks the same number of patches; the test should see it change")
	}
	count := &drivertest.Counter{Driver: drivertest.NewLate(ptx.NewDriver(1<<28, 1), 5)}
	tr, err := newTrainer(cuda.New(count, cuda.Versions{}), tensor.BF16, s)
	if err != nil {
		t.Fatal(err)
	}
	next := batches(&s, 0)
	if err := tr.Stage(next); err != nil {
		t.Fatal(err)
	}
	saved := t.TempDir()
	const savedAt = 5
	for i := range steps {
		if i == savedAt {
			if err := tr.Save(saved); err != nil {
				t.Fatal(err)
			}
		}
		batch := next
		next = batches(&s, i+1)
		if err := tr.Stage(next); err != nil {
			t.Fatal(err)
		}
		count.Take()
		m, err := tr.Step(batch)
		if err != nil {
			t.Fatal(err)
		}
		// The host may use its memory again.
		for _, x := range batch.Views {
			clear(x.Bytes())
		}
		c := count.Take()
		t.Logf("step %d, %d masked: %+v", i, m.Masked, c)
		if i < 3 {
			continue
		}
		if c.Syncs+c.CopiesIn+c.CopiesOut+c.Allocs+c.Frees > 0 {
			t.Errorf("step %d: the host waits or allocates: %+v", i, c)
		}
		if i != 4 && (c.Launches > 8 || c.Graphs > 0 || c.Replays != 1) {
			t.Errorf("step %d: %d kernels are launched by themselves beside %d graphs", i, c.Launches, c.Replays)
		}
	}
	want := weights(t, plain)
	if diff := cmp.Diff(want, weights(t, tr)); diff != "" {
		t.Errorf("weights (-one by one +replayed):\n%s", diff)
	}
	resumed, err := newTrainer(cuda.New(ptx.NewDriver(1<<28, 1), cuda.Versions{}), tensor.BF16, s)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := resumed.Load(saved); err != nil || !same {
		t.Fatal(same, err)
	}
	for i := savedAt; i < steps; i++ {
		if _, err := resumed.Step(batches(&s, i)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, weights(t, resumed)); diff != "" {
		t.Errorf("weights (-unbroken +resumed):\n%s", diff)
	}
}

// Steps in parts, on a device that does everything as late as it may, give the bits of steps whose operations are
// submitted one by one.
func TestReplayedMicroBatches(t *testing.T) {
	if testing.Short() {
		t.Skip("interprets kernels")
	}
	s := micro()
	s.Batch, s.MicroBatches, s.Views = 2, 2, MultiCrop(8, 1, 4)
	s.Watch.Every, s.MeasureEvery = 0, 8
	s.Backbone.Depth = 1
	s.Targets.Sinkhorn = true
	const steps = 3
	plain, err := newTrainer(onebyone{cuda.New(ptx.NewDriver(1<<28, 1), cuda.Versions{})}, tensor.BF16, s)
	if err != nil {
		t.Fatal(err)
	}
	late, err := newTrainer(cuda.New(drivertest.NewLate(ptx.NewDriver(1<<28, 1), 5), cuda.Versions{}), tensor.BF16, s)
	if err != nil {
		t.Fatal(err)
	}
	for i := range steps {
		if _, err := plain.Step(batches(&s, i)); err != nil {
			t.Fatal(err)
		}
		batch := batches(&s, i)
		if err := late.Stage(batch); err != nil {
			t.Fatal(err)
		}
		if _, err := late.Step(batch); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(weights(t, plain), weights(t, late)); diff != "" {
		t.Errorf("weights (-one by one +replayed):\n%s", diff)
	}
}

var large = flag.Bool("large", false, "count the calls and the memory of DINOv2 steps of ViT-S/14 and ViT-B/14")

// dinov2 is a DINOv2 step as bench/gpu measures it: 2 x 224 + 8 x 98 pixels, patches of 14.
func dinov2(dim, depth, heads, batch, prototypes int) Settings {
	s := micro()
	s.Batch, s.Views = batch, MultiCrop(224, 8, 98)
	s.Backbone.Channels, s.Backbone.PatchSize, s.Backbone.ImageSize = 3, 14, 224
	s.Backbone.Dim, s.Backbone.Depth, s.Backbone.Heads, s.Backbone.MLPDim = dim, depth, heads, 4*dim
	s.DINO.Head = nn.HeadConfig{Hidden: 2048 * dim / 768, Bottleneck: 256, Prototypes: prototypes, Layers: 3, WeightNorm: true}
	s.IBOT = IBOT{Weight: optim.Constant(1), Mask: mask.Settings{Probability: 0.5, Ratio: [2]float64{0.1, 0.5}}}
	s.Schedules.FreezeLastLayer = 0
	s.MeasureEvery = 10
	s.Watch.Every = 0
	return s
}

// The memory of a device is what the count of a step explains, with activations in bf16: little more is reserved than
// ever used, and not much more held while the first step is made. A step changes few commands of its graph although the number of masked patches varies.
func TestDeviceMemoryAndCalls(t *testing.T) {
	cases := map[string]Settings{"narrow": dinov2(64, 4, 2, 16, 1024)}
	if *large {
		small, base := dinov2(384, 12, 6, 64, 65536), dinov2(768, 12, 12, 64, 65536)
		small.DINO.Head.Hidden = 2048
		cases = map[string]Settings{"ViT-S/14": small, "ViT-B/14": base}
	}
	for name, s := range cases {
		t.Run(name, func(t *testing.T) {
			dry := drivertest.NewDry(80 << 30)
			count := &drivertest.Counter{Driver: dry}
			tr, err := newTrainer(cuda.New(count, cuda.Versions{}), tensor.BF16, s)
			if err != nil {
				t.Fatal(err)
			}
			var batch Batch
			fed := 0
			for _, v := range s.Views {
				batch.Views = append(batch.Views, tensor.Zeros(tensor.F32, v.Count*s.Batch, 3, v.Height, v.Width))
				fed += 2 * batch.Views[len(batch.Views)-1].NumBytes()
			}
			commands, changed := 0, 0
			const steps, steady = 12, 4
			for i := range steps {
				if err := tr.Stage(batch); err != nil {
					t.Fatal(err)
				}
				count.Take()
				m, err := tr.Step(batch)
				if err != nil {
					t.Fatal(err)
				}
				c := count.Take()
				if testing.Verbose() {
					t.Logf("step %d, %d masked: %+v", i, m.Masked, c)
				}
				if i >= steady && !m.Measured {
					commands, changed = commands+c.Commands, changed+c.Changed
					if c.Allocs+c.Frees+c.Syncs+c.CopiesIn+c.CopiesOut > 0 || c.Launches > 8 {
						t.Errorf("step %d: %+v", i, c)
					}
				}
			}
			counted := 0
			for _, x := range tr.StepMemory(tr.draw.most) {
				counted += x.Bytes
			}
			mem := tr.Memory()
			t.Logf("arena: %d bytes at the peak, %d counted, %d reserved; state %d; device %d at most (peak_bytes)", mem.Peak, counted, mem.Reserved, mem.State, dry.Most)
			t.Logf("%d of %d commands change in a step", changed/max(1, (steps-steady-1)), commands/max(1, (steps-steady-1)))
			if mem.Peak > counted+counted/32 || mem.Peak < counted-counted/16 {
				t.Errorf("the arena held %d bytes, the count explains %d", mem.Peak, counted)
			}
			if mem.Reserved > mem.Peak+mem.Peak/20 {
				t.Errorf("%d bytes are reserved for a step that uses %d", mem.Reserved, mem.Peak)
			}
			if most := mem.State + fed + counted + counted/10; dry.Most > most+most/20 {
				t.Errorf("the device held %d bytes, %d are explained", dry.Most, most)
			}
			if 2*changed > commands {
				t.Errorf("%d of %d commands change", changed, commands)
			}
		})
	}
}

// Wherever memory runs out or a kernel fails, the trainer says so and nothing panics.
func TestDeviceFailures(t *testing.T) {
	s := micro()
	s.Batch, s.Views = 2, MultiCrop(8, 1, 4)
	s.Watch.Every = 1
	broken := errors.New("broken")
	run := func(f drivertest.Failer) (failed bool, err error) {
		dry := drivertest.NewDry(1 << 30)
		f.Driver, f.Err = dry, broken
		tr, err := newTrainer(cuda.New(&f, cuda.Versions{}), tensor.BF16, s)
		for i := 0; err == nil && i < 2; i++ {
			_, err = tr.Step(batches(&s, i))
		}
		return f.Failed, err
	}
	for n := 1; ; n++ {
		failed, err := run(drivertest.Failer{FailAlloc: n})
		if !failed {
			if n < 50 || err != nil {
				t.Fatalf("there were only %d allocations, %v", n, err)
			}
			break
		}
		var oom *tensor.OutOfMemory
		if err != nil && !errors.As(err, &oom) {
			t.Errorf("allocation %d: %v", n, err)
		}
	}
	// Every launch of a step, thinned out.
	for n := 1; ; n += 1 + n/8 {
		failed, err := run(drivertest.Failer{FailLaunch: n})
		if !failed {
			if n < 300 {
				t.Fatalf("there were only %d launches", n)
			}
			break
		}
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "kernel ") {
			t.Errorf("launch %d: %v", n, err)
		}
	}
}
