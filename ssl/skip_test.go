package ssl

import (
	"bytes"
	"math"
	"testing"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cuda"
	"github.com/dino-mx/dmx/kernels/ptx"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/tensor"
)

// spoiled makes the loss of some steps, and no gradient, not a number.
type spoiled struct{ Steps []int }

type spoiledTerm struct {
	spoiled
	loss.Stateless
}

func (s spoiled) New(loss.Env) (loss.Term, error)   { return &spoiledTerm{spoiled: s}, nil }
func (s spoiled) Cost(*loss.Env, int) (c loss.Cost) { return c }

func (s *spoiledTerm) Parts() []loss.Part {
	return []loss.Part{{Key: "spoiled", Title: "spoiled loss"}}
}
func (s *spoiledTerm) Reads() loss.Reads { return loss.Reads{Student: loss.CLS} }

func (s *spoiledTerm) Backward(in *loss.Inputs) {
	for _, i := range s.Steps {
		if i == in.Step.Index {
			in.Tape.B.Fill(in.Loss, math.NaN())
		}
	}
}

// A run with skipped steps is, bit for bit, the run that never had them, whether the host looked at the step (the CPU,
// and measured steps of a device) or the device skipped it by itself; and whether the images or a loss alone are not
// finite. Prototypes thaw in between.
func TestSkippedStepsLeaveNoTrace(t *testing.T) {
	s := micro()
	s.Batch, s.Views = 2, MultiCrop(8, 1, 4)
	s.Backbone.Depth = 1
	s.Watch.Every = 0
	s.Watch.MaxNonFinite = 10
	s.MeasureEvery = 100 // the first step only
	s.Schedules.FreezeLastLayer, s.Schedules.LastLayer = 3, optim.LastLayerSkipped
	const steps = 7
	bad := map[int]string{2: "images", 4: "loss", 5: "images"}
	run := func(t *testing.T, b kernels.Backend, dtype tensor.DType, with bool) (map[string][]byte, map[string]int) {
		t.Helper()
		s := s
		s.Terms = []loss.Spec{spoiled{[]int{4}}}
		if !with {
			s.Terms = []loss.Spec{spoiled{}}
		}
		tr, err := newTrainer(b, dtype, s)
		if err != nil {
			t.Fatal(err)
		}
		for i := range steps {
			if bad[i] != "" && !with {
				tr.steps++ // the schedules go on
				continue
			}
			batch := batches(&s, i)
			if bad[i] == "images" {
				batch.Views[0].F32()[3] = float32(math.NaN())
			}
			if _, err := tr.Step(batch); err != nil {
				t.Fatal(err)
			}
		}
		all := weights(t, tr)
		if err := tr.opt.Settle(); err != nil {
			t.Fatal(err)
		}
		updates := map[string]int{}
		for _, m := range tr.opt.State() {
			updates[m.Name] = m.Updates
			all["m."+m.Name] = bytes.Clone(kernels.ToHost(b, m.M).Bytes())
			all["v."+m.Name] = bytes.Clone(kernels.ToHost(b, m.V).Bytes())
		}
		for _, x := range tr.terms {
			for _, n := range x.State() {
				all["state."+n.Name] = bytes.Clone(kernels.ToHost(b, n.Tensor).Bytes())
			}
		}
		return all, updates
	}
	for name, make := range map[string]func() (kernels.Backend, tensor.DType){
		"cpu": func() (kernels.Backend, tensor.DType) { return newCPU(t, 2), tensor.F32 },
		"emulated cuda": func() (kernels.Backend, tensor.DType) {
			return cuda.New(ptx.NewDriver(1<<28, 1), cuda.Versions{}), tensor.BF16
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, dtype := make()
			want, counts := run(t, b, dtype, false)
			b, _ = make()
			got, n := run(t, b, dtype, true)
			for name, c := range counts {
				if n[name] != c {
					t.Errorf("%s counts %d updates, %d were made", name, n[name], c)
				}
			}
			for name, x := range want {
				if !bytes.Equal(x, got[name]) {
					t.Errorf("%s differs", name)
				}
			}
		})
	}
}
