package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels/cuda/drivertest"
	"github.com/dino-mx/dmx/kernels/cuda/gpu"
	"github.com/dino-mx/dmx/kernels/device"
	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/tensor"
)

// tiny is a recipe that an interpreted GPU gets through in a moment.
func tiny(t *testing.T, overrides ...string) *config.Config {
	return quickstart(t, append([]string{
		"model.hidden_size=8", "model.num_hidden_layers=1", "model.num_attention_heads=2", "model.patch_size=14",
		"dino_head.hidden_dim=8", "dino_head.bottleneck_dim=8", "dino_head.out_dim=16", "ibot.out_dim=16", "train.warmup_iterations=0", "train.freeze_last_layer=0", "crops.local_crops_number=1",
		"train.batch_size_per_gpu=2", "train.max_iterations=4", "train.log_every=2", "train.saveckp_freq=2", "train.num_workers=1",
		"evaluation.knn=false",
	}, overrides...)...)
}

// dry trains on a device that computes nothing.
func dry(d gpu.Driver) Options {
	return Options{Log: func(string, string) {}, open: func(string) (*device.Device, error) { return device.CUDA(d), nil }}
}

// On a device every log_every-th step and the last one are measured and recorded, with the device's memory.
func TestRecordsOfADevice(t *testing.T) {
	c := tiny(t)
	device := drivertest.NewDry(1 << 30)
	sum, err := Train(context.Background(), c, dry(device))
	if err != nil {
		t.Fatal(err)
	}
	if sum.PeakMemory == 0 || sum.PeakMemory > uint64(device.Most) {
		t.Errorf("peak memory %d, the device held %d at most", sum.PeakMemory, device.Most)
	}
	text, err := os.ReadFile(filepath.Join(FolderOf(c), "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var steps []int
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var r Step
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, r.Iteration)
		if r.MemoryTotal != 1<<30 || r.Memory == 0 || r.StepSeconds <= 0 || r.ImagesPerSecond <= 0 {
			t.Errorf("%+v", r)
		}
	}
	if diff := cmp.Diff([]int{0, 2, 3}, steps); diff != "" {
		t.Error(diff)
	}
}

// A device without enough memory, or one that fails, ends the run with an error that says what to do, wherever it
// happens, and leaves nothing half-written: what was saved before can be loaded.
func TestFailuresOfADevice(t *testing.T) {
	broken := errors.New("CUDA_ERROR_ILLEGAL_ADDRESS (700)")
	var launches int
	try := func(f drivertest.Failer) (failed bool) {
		c := tiny(t)
		f.Driver, f.Err = drivertest.NewDry(1<<30), broken
		_, err := Train(context.Background(), c, dry(&f))
		launches = f.Launched
		if !f.Failed {
			if err != nil {
				t.Fatal(err)
			}
			return false
		}
		var oom *tensor.OutOfMemory
		switch {
		case err == nil:
			if f.FailLaunch > 0 {
				t.Errorf("launch %d failed and nobody said so", f.FailLaunch)
			}
		case f.FailAlloc > 0:
			if !errors.As(err, &oom) || !strings.Contains(err.Error(), "train.gradient_checkpointing_enable") {
				t.Errorf("allocation %d: %v", f.FailAlloc, err)
			}
		case !errors.Is(err, broken):
			t.Errorf("launch %d: %v", f.FailLaunch, err)
		}
		for _, dir := range []string{"train_checkpoints", "teacher_checkpoints"} {
			entries, err := os.ReadDir(filepath.Join(FolderOf(c), dir))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			for _, e := range entries {
				if !strings.HasPrefix(e.Name(), "iter_") {
					t.Errorf("%s is left in %s", e.Name(), dir)
				}
			}
		}
		return true
	}
	allocs := 0
	for n := 1; try(drivertest.Failer{FailAlloc: n}); n += 7 {
		allocs = n
	}
	if allocs < 50 {
		t.Errorf("there were only %d allocations", allocs)
	}
	for n := 1; n < launches; n += 1 + launches/20 {
		try(drivertest.Failer{FailLaunch: n})
	}
}

// A device that gives garbage from some step on stops the run once max_nonfinite measured steps were skipped, although
// only every tenth step is measured, and the error names the device: its kernels are compared with known answers again.
func TestGarbageOfADevice(t *testing.T) {
	for _, from := range []int{0, 500} {
		c := tiny(t, "train.max_iterations=600", "train.log_every=10", "train.saveckp_freq=1000", "watch.max_nonfinite=3")
		d := &drivertest.Garbage{Driver: drivertest.NewDry(1 << 30), On: from == 0}
		o := dry(d)
		skipped, last := 0, 0
		o.Step = func(s *Step) {
			d.On = d.On || s.Iteration+10 >= from
			last = s.Iteration
			if s.Skipped {
				skipped++
			}
		}
		_, err := Train(context.Background(), c, o)
		if err == nil {
			t.Fatalf("garbage from step %d: the run ends without an error", from)
		}
		// Three measured steps are skipped; the fourth stops the run and has no record.
		if skipped != 3 || last != from+20 {
			t.Errorf("garbage from step %d: %d steps are skipped, the last record is of step %d", from, skipped, last)
		}
		for _, want := range []string{
			"fails the check of its kernels", "matrix products: Gemm/bf16", "not finite for 4 measured steps in a row",
			fmt.Sprintf("step %d:", from+30),
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("garbage from step %d: the error does not say %q: %v", from, want, err)
			}
		}
	}
}

// A backbone that gives all images the same features is called out before the first step, and a sound one is not.
func TestFeaturesAlike(t *testing.T) {
	called := func(o Options) (called, first bool) {
		steps := 0
		o.Step = func(*Step) { steps++ }
		o.Log = func(level, message string) {
			if level == "WARNING" && strings.Contains(message, "the same features to 8 images that differ (standard deviation 0)") {
				called, first = true, steps == 0
			}
		}
		if _, err := Train(context.Background(), tiny(t, "train.max_iterations=2"), o); err != nil {
			t.Fatal(err)
		}
		return called, first
	}
	if called, first := called(dry(drivertest.NewDry(1 << 30))); !called || !first {
		t.Errorf("a device that computes nothing: called out %v, before the first step %v", called, first)
	}
	if called, _ := called(Options{Device: "cpu"}); called {
		t.Error("a backbone as initialised is called out")
	}
}

// The kernels that ship train the recipe on the interpreter, through this package's own input path.
func TestTrainOnEmulatedGPU(t *testing.T) {
	if testing.Short() {
		t.Skip("interprets kernels")
	}
	train := func(device, precision string) (losses []float64, log string) {
		c := tiny(t, "train.max_iterations=2", "train.log_every=1", "distribution.mixed_precision="+precision)
		sum, err := Train(context.Background(), c, Options{
			Device: device, Log: func(_, m string) { log += m + "\n" },
			Step: func(s *Step) { losses = append(losses, float64(s.Loss)) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(losses) != 2 || losses[0] == 0 || math.IsNaN(losses[0]) || !sum.Finished || sum.PeakMemory == 0 {
			t.Errorf("losses %v, summary %+v", losses, sum)
		}
		return losses, log
	}
	if _, log := train("emulated-cuda", "bf16"); !strings.Contains(log, "1 process, bf16, emulated-cuda") {
		t.Errorf("%s", log)
	}
	// Without mixed precision the GPU's losses are those of the CPU, but for the order of sums.
	want, _ := train("cpu", "no")
	got, log := train("emulated-cuda", "no")
	if !strings.Contains(log, "1 process, f32, emulated-cuda") {
		t.Errorf("%s", log)
	}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-5*want[i] {
			t.Errorf("step %d: loss %v on the GPU in f32, %v on the CPU", i, got[i], want[i])
		}
	}
}
