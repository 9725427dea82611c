package loader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/tensor"
)

// numbers is a source whose picture i is a single pixel of value i; some indices are unreadable.
type numbers struct {
	n   int
	bad []int
}

func (s numbers) Len() int                { return s.n }
func (s numbers) ID(i int) string         { return fmt.Sprintf("numbers#%d", i) }
func (s numbers) Label(i int) (int, bool) { return i % 10, i%10 != 9 }
func (s numbers) Classes() []string       { return []string{"a"} }
func (s numbers) Channels() int           { return 1 }
func (s numbers) Decode(i int, into *data.Sample) error {
	m := &into.Image
	if i%7 == 3 {
		time.Sleep(50 * time.Microsecond) // shuffles the workers
	}
	if slices.Contains(s.bad, i) {
		return errors.New(s.ID(i) + ": damaged on purpose")
	}
	m.Reset(1, 1, 1, data.U16)
	m.U16[0] = uint16(i)
	return nil
}

// draws is a transform whose views show the pixel and a draw of their stream.
type draws struct{ views []data.ViewSpec }

func (d draws) Views() []data.ViewSpec { return d.views }
func (d draws) Channels() int          { return 1 }
func (d draws) Apply(s *data.Sample, key data.Key, out [][]float32) error {
	for v := range out {
		r := tensor.NewRand(key.Seed, key.Epoch, key.Sample, uint32(v))
		for i := range out[v] {
			out[v][i] = float32(r.Float64())
		}
		out[v][0] = float32(s.Image.U16[0])
	}
	return nil
}

var threeViews = draws{[]data.ViewSpec{{Count: 2, Height: 2, Width: 3}, {Count: 1, Height: 1, Width: 2}}}

// record is what a test keeps of a batch.
type record struct {
	Step, Epoch int
	Indices     []int
	Labels      []int32
	Shapes      string
	Pixels      [][]float32
}

func collect(t *testing.T, l *Loader, steps int) []record {
	t.Helper()
	var all []record
	for range steps {
		b, err := l.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		r := record{Step: b.Step, Epoch: b.Epoch, Indices: slices.Clone(b.Indices), Labels: slices.Clone(b.Labels)}
		for k, views := range b.Views {
			r.Shapes += views.Shape().String()
			n := len(b.Indices)
			for v := range b.Specs[k].Count {
				r.Pixels = append(r.Pixels, slices.Clone(views.Rows(v*n, (v+1)*n).F32()))
			}
		}
		all = append(all, r)
		b.Release()
	}
	return all
}

func newTestLoader(t *testing.T, cfg Config) *Loader {
	t.Helper()
	if cfg.Transform == nil {
		cfg.Transform = threeViews
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestOrderDoesNotDependOnWorkers(t *testing.T) {
	cfg := Config{Source: numbers{n: 53, bad: []int{5, 6, 52}}, Seed: 7, Shuffle: true, BatchSize: 4,
		MaxUnreadableShare: .2}
	var want []record
	for _, workers := range []int{1, 2, 7} {
		cfg.Workers, cfg.Prefetch = workers, workers
		got := collect(t, newTestLoader(t, cfg), 30)
		if want == nil {
			want = got
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d workers: %s", workers, d)
		}
	}
	if want[0].Shapes != "[8 1 2 3][4 1 1 2]" {
		t.Errorf("views of shapes %s", want[0].Shapes)
	}
	seen := map[int]int{}
	for _, r := range want[:13] {
		if r.Epoch != 0 {
			t.Errorf("step %d is in epoch %d", r.Step, r.Epoch)
		}
		for b, i := range r.Indices {
			seen[i]++
			if want := int32(i % 10); want == 9 && r.Labels[b] != -1 || want != 9 && r.Labels[b] != want {
				t.Errorf("label %d of sample %d", r.Labels[b], i)
			}
			for v, view := range r.Pixels {
				if each := len(view) / 4; view[b*each] != float32(i) {
					t.Errorf("step %d view %d sample %d shows picture %v, expected %d", r.Step, v, b, view[b*each], i)
				}
			}
		}
	}
	for _, bad := range []int{5, 6, 52} {
		if seen[bad] > 0 {
			t.Errorf("unreadable sample %d was returned", bad)
		}
	}
	if cmp.Equal(want[0].Indices, want[13].Indices) {
		t.Error("the second epoch starts in the order of the first")
	}
}

func TestRanksShareTheGlobalBatch(t *testing.T) {
	cfg := Config{Source: numbers{n: 40}, Seed: 1, Shuffle: true, BatchSize: 6}
	joined := collect(t, newTestLoader(t, cfg), 14)
	cfg.BatchSize, cfg.Ranks = 3, 2
	first := collect(t, newTestLoader(t, cfg), 14)
	cfg.Rank = 1
	second := collect(t, newTestLoader(t, cfg), 14)
	for s, j := range joined {
		for v := range j.Pixels {
			if d := cmp.Diff(j.Pixels[v], append(slices.Clone(first[s].Pixels[v]), second[s].Pixels[v]...)); d != "" {
				t.Fatalf("step %d view %d: %s", s, v, d)
			}
		}
	}
}

func TestSeekContinuesToTheSameBits(t *testing.T) {
	cfg := Config{Source: numbers{n: 31}, Seed: 3, Shuffle: true, BatchSize: 5, Workers: 3}
	want := collect(t, newTestLoader(t, cfg), 20)
	l := newTestLoader(t, cfg)
	for _, step := range []int{0, 13, 6, 19, 12} {
		if err := l.Seek(step); err != nil {
			t.Fatal(err)
		}
		n := min(3, 20-step)
		if d := cmp.Diff(want[step:step+n], collect(t, l, n)); d != "" {
			t.Errorf("from step %d: %s", step, d)
		}
	}
	if err := l.Seek(-1); err == nil {
		t.Error("a negative step was accepted")
	}
}

func TestEpochsEndAndShortBatch(t *testing.T) {
	l := newTestLoader(t, Config{Source: numbers{n: 10}, BatchSize: 4, KeepLast: true, Epochs: 1})
	got := collect(t, l, l.StepsPerEpoch())
	if d := cmp.Diff([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, slices.Concat(got[0].Indices, got[1].Indices, got[2].Indices)); d != "" {
		t.Error(d)
	}
	last := got[2]
	if last.Shapes != "[4 1 2 3][2 1 1 2]" {
		t.Errorf("short batch of shapes %s", last.Shapes)
	}
	for v, view := range last.Pixels {
		for b := range 2 {
			if each := len(view) / 2; view[b*each] != float32(8+b) {
				t.Errorf("view %d sample %d shows %v", v, b, view[b*each])
			}
		}
	}
	if _, err := l.Next(context.Background()); err != io.EOF {
		t.Errorf("after the last epoch: %v", err)
	}
}

func TestTooManyUnreadable(t *testing.T) {
	src := numbers{n: 40, bad: []int{11, 12, 30}}
	var stopped []int
	for _, workers := range []int{1, 5} {
		l := newTestLoader(t, Config{Source: src, BatchSize: 4, Workers: workers, MaxUnreadableShare: .05})
		step := 0
		var err error
		for ; err == nil; step++ {
			var b *Batch
			if b, err = l.Next(context.Background()); err == nil {
				b.Release()
			}
		}
		stopped = append(stopped, step)
		for _, part := range []string{"3 of 40", "numbers#11: damaged", "numbers#30: damaged", "allowed share of 0.05"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the error lacks %q: %v", part, err)
			}
		}
		if _, again := l.Next(context.Background()); again != err {
			t.Errorf("the next call gives %v", again)
		}
	}
	if d := cmp.Diff([]int{8, 8}, stopped); d != "" {
		t.Errorf("stopped at other steps: %s", d)
	}
	all := make([]int, 8)
	for i := range all {
		all[i] = i
	}
	l := newTestLoader(t, Config{Source: numbers{n: 8, bad: all}, BatchSize: 4, MaxUnreadableShare: 1})
	if _, err := l.Next(context.Background()); err == nil {
		t.Error("a source without one readable sample gave a batch")
	}
}

func TestContextEndsTheWait(t *testing.T) {
	l := newTestLoader(t, Config{Source: numbers{n: 8}, BatchSize: 4})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Next(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := l.Seek(0); err != nil {
		t.Fatal(err)
	}
	if got := collect(t, l, 1); got[0].Step != 0 {
		t.Errorf("after a cancelled wait comes step %d", got[0].Step)
	}
}

func TestLoaderRefusesNonsense(t *testing.T) {
	ok := Config{Source: numbers{n: 8}, Transform: threeViews, BatchSize: 4}
	for name, change := range map[string]func(*Config){
		"batch":     func(c *Config) { c.BatchSize = 0 },
		"rank":      func(c *Config) { c.Rank = 1 },
		"too few":   func(c *Config) { c.BatchSize = 9 },
		"no images": func(c *Config) { c.Source = numbers{} },
		"keep last": func(c *Config) { c.KeepLast, c.Ranks = true, 2 },
	} {
		cfg := ok
		change(&cfg)
		if l, err := New(cfg); err == nil {
			l.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSteadyStateReusesTensorMemory(t *testing.T) {
	l := newTestLoader(t, Config{Source: numbers{n: 64}, BatchSize: 8, Transform: draws{[]data.ViewSpec{{Count: 1,
		Height: 64, Width: 64}}}})
	ctx := context.Background()
	memory := map[*float32]bool{}
	for range 40 {
		b, err := l.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		memory[&b.Views[0].F32()[0]] = true
		b.Release()
	}
	if len(memory) > 3 {
		t.Errorf("40 batches lay in %d different places, expected at most 3", len(memory))
	}
}
