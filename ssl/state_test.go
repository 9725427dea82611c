package ssl

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/nn/optim"
	"github.com/dino-mx/dmx/ssl/checkpoint"
	"github.com/dino-mx/dmx/ssl/loss"
	"github.com/dino-mx/dmx/tensor"
)

// recipes are micro recipes that together use everything that has state.
func recipes() map[string]Settings {
	v2 := micro()
	v3 := micro()
	v3.Targets.Sinkhorn = true
	v3.Backbone.Family = nn.FamilyDINOv3
	v3.Backbone.Registers = 2
	v3.Backbone.RoPE = nn.RoPEConfig{Theta: 100, Rescale: 2, PerBlock: true}
	v3.Backbone.DropPath = nn.DropPathConfig{Rate: .3, Subset: true}
	v3.DINO.Head.WeightNorm = false
	v3.IBOT.Head = &nn.HeadConfig{Hidden: 10, Bottleneck: 5, Prototypes: 7, Layers: 2}
	v3.IBOT.Mask.Exact = true
	v3.Gram = Gram{Gram: loss.Gram{Weight: optim.Constant(.5)}, Snapshot: Snapshot{First: 2, Every: 5, Times: 2}}
	v1 := micro()
	v1.IBOT = IBOT{}
	v1.KoLeo = loss.KoLeo{}
	v1.DINO.Head.FreezeGain = true
	v1.Backbone.DropPath = nn.DropPathConfig{Rate: .2, Linear: true}
	v1.Schedules.LastLayer = 1 // skipped
	v1.Recompute = true
	return map[string]Settings{"dino": v1, "dinov2": v2, "dinov3": v3}
}

func trainer(t testing.TB, b *cpu.Backend, s Settings) *Trainer {
	t.Helper()
	tr, err := newTrainer(b, tensor.F32, s)
	if err != nil {
		t.Fatal(err)
	}
	tr.tape.A.Poison = true
	return tr
}

// train makes steps from the trainer's position up to step to.
func train(t testing.TB, tr *Trainer, to int) (last Metrics) {
	t.Helper()
	for tr.Steps() < to {
		m, err := tr.Step(batches(&tr.Settings, tr.Steps()))
		if err != nil {
			t.Fatal(err)
		}
		last = m
	}
	return last
}

// saved is the bytes of every file of the state.
func saved(t testing.TB, tr *Trainer) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	if err := tr.Save(dir); err != nil {
		t.Fatal(err)
	}
	return contents(t, dir)
}

func contents(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, e := range entries {
		if out[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func sameState(t testing.TB, want, got map[string][]byte) {
	t.Helper()
	if len(want) != len(got) || len(want) == 0 {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
	for name, text := range want {
		if !bytes.Equal(text, got[name]) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestResumeSameBits(t *testing.T) {
	b := newCPU(t, 2)
	for name, s := range recipes() {
		t.Run(name, func(t *testing.T) {
			whole := trainer(t, b, s)
			train(t, whole, 16)
			for _, at := range []int{0, 1, 7, 15} {
				first := trainer(t, b, s)
				train(t, first, at)
				dir := t.TempDir()
				if err := first.Save(dir); err != nil {
					t.Fatal(err)
				}
				other := s
				other.Seed = s.Seed + 1 // other initial weights, all of which must be replaced
				second := trainer(t, b, other)
				same, err := second.Load(dir)
				if err != nil {
					t.Fatal(err)
				}
				if same {
					t.Error("another seed passes as the same settings")
				}
				second.Settings.Seed = s.Seed
				train(t, second, 16)
				sameState(t, saved(t, whole), saved(t, second))
			}
		})
	}
}

// TestLoadRejects: a state of another model is named tensor by tensor and changes nothing.
func TestLoadRejects(t *testing.T) {
	b := newCPU(t, 1)
	s := micro()
	tr := trainer(t, b, s)
	train(t, tr, 2)
	dir := t.TempDir()
	if err := tr.Save(dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*Settings)
		want   []string
	}{
		{"prototypes", func(s *Settings) { s.DINO.Head.Prototypes = 11 }, []string{"dino_head.last_layer.weight_v F32[10 6], the model has F32[11 6]"}},
		{"depth", func(s *Settings) { s.Backbone.Depth = 3 }, []string{"missing backbone.encoder.layer.2"}},
		{"registers", func(s *Settings) { s.Backbone.Family = nn.FamilyDINOv2Registers; s.Backbone.Registers = 2 }, []string{"missing backbone.embeddings.register_tokens"}},
		{"no patch loss", func(s *Settings) { s.IBOT.Weight = nil }, []string{"unexpected ibot"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := s
			c.change(&o)
			other := trainer(t, b, o)
			before := saved(t, other)
			_, err := other.Load(dir)
			if err == nil {
				t.Fatal("loaded")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error does not say %q: %v", w, err)
				}
			}
			sameState(t, before, saved(t, other))
		})
	}
	t.Run("damaged files", func(t *testing.T) {
		for name, text := range contents(t, dir) {
			for _, cut := range []int{0, len(text) / 3, len(text) - 1} {
				broken := t.TempDir()
				for n, b := range contents(t, dir) {
					if n == name {
						b = b[:cut]
					}
					if err := os.WriteFile(filepath.Join(broken, n), b, 0o666); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := trainer(t, b, s).Load(broken); err == nil && !(name == stateFile && cut == len(text)-1) { // only its line end is gone
					t.Errorf("%s cut to %d bytes was loaded", name, cut)
				}
			}
		}
	})
}

// TestKill trains in child processes that are killed at random moments, and compares the end with an unbroken run.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	const steps = 120
	s := recipes()["dinov2"]
	b := newCPU(t, 1)
	whole := trainer(t, b, s)
	train(t, whole, steps)
	dir := t.TempDir()
	r := tensor.NewRand(5, 0, 0, 0)
	kills, finished := 0, false
	for kills < 8 && !finished {
		child := exec.Command(os.Args[0], "-test.run=^TestTrainChild$")
		child.Env = append(os.Environ(), "SSL_CHILD_DIR="+dir, "SSL_CHILD_STEPS="+strconv.Itoa(steps))
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- child.Wait() }()
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("child: %v", err)
			}
			finished = true
		case <-time.After(time.Duration(r.Uniform(20, 160)) * time.Millisecond):
			_ = child.Process.Kill()
			<-done
			kills++
		}
	}
	child := exec.Command(os.Args[0], "-test.run=^TestTrainChild$")
	child.Env = append(os.Environ(), "SSL_CHILD_DIR="+dir, "SSL_CHILD_STEPS="+strconv.Itoa(steps))
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("last child: %v\n%s", err, out)
	}
	t.Logf("%d kills", kills)
	if kills == 0 {
		t.Error("the first child was done before it could be killed")
	}
	found, damaged, err := checkpoint.Folder{Path: dir}.Newest()
	if err != nil || len(damaged) > 0 || found.Step != steps {
		t.Fatalf("found %v, damaged %v, error %v", found, damaged, err)
	}
	got := contents(t, found.Path)
	delete(got, "manifest.json")
	sameState(t, saved(t, whole), got)
}

// TestTrainChild is the process that TestKill kills.
func TestTrainChild(t *testing.T) {
	dir := os.Getenv("SSL_CHILD_DIR")
	if dir == "" {
		t.Skip("run by TestKill")
	}
	steps, err := strconv.Atoi(os.Getenv("SSL_CHILD_STEPS"))
	if err != nil {
		t.Fatal(err)
	}
	f := checkpoint.Folder{Path: dir, Keep: 3}
	tr := trainer(t, newCPU(t, 1), recipes()["dinov2"])
	found, _, err := f.Newest()
	if err != nil {
		t.Fatal(err)
	}
	if found != nil {
		if _, err := tr.Load(found.Path); err != nil {
			t.Fatal(err)
		}
	}
	for tr.Steps() < steps {
		train(t, tr, tr.Steps()+1)
		if tr.Steps()%4 == 0 || tr.Steps() == steps {
			if _, err := f.Save(tr.Steps(), tr.Save); err != nil {
				t.Fatal(err)
			}
		}
	}
	fmt.Println("done")
}
