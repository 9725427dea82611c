package embed

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dino-mx/dmx/data"
	"github.com/dino-mx/dmx/data/augment"
	"github.com/dino-mx/dmx/data/loader"
	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/ssl/durable"
	"github.com/dino-mx/dmx/ssl/eval"
	"github.com/dino-mx/dmx/tensor"
)

// numbered is a source of n pictures of 4 x 4 pixels that differ by their index; bad ones cannot be decoded.
type numbered struct {
	n       int
	name    string
	bad     map[int]bool
	decoded atomic.Int64
}

func (s *numbered) Len() int                { return s.n }
func (s *numbered) Classes() []string       { return []string{"even", "odd"} }
func (s *numbered) Channels() int           { return 1 }
func (s *numbered) Label(i int) (int, bool) { return i % 2, true }
func (s *numbered) ID(i int) string         { return fmt.Sprintf("%s/%02d", s.name, i) }

func (s *numbered) Decode(i int, into *data.Sample) error {
	m := &into.Image
	s.decoded.Add(1)
	if s.bad[i] {
		return errors.New(s.ID(i) + ": damaged")
	}
	m.Reset(1, 4, 4, data.U8)
	for k := range m.U8 {
		m.U8[k] = byte(i * (k + 1))
	}
	return nil
}

func extractor(t *testing.T) *eval.Extractor {
	t.Helper()
	backend := cpu.New(cpu.Options{Threads: 1})
	t.Cleanup(backend.Close)
	b := nn.Builder{Backend: backend, DType: tensor.F32}
	v, err := b.NewViT(nn.ViTConfig{
		Family: nn.FamilyViT, Channels: 1, PatchSize: 2, ImageSize: 4, Dim: 8, Depth: 1, Heads: 2, MLPDim: 8,
		Act: kernels.GELU, NormEps: 1e-6, QueryBias: true, KeyBias: true, ValueBias: true, ProjBias: true, MLPBias: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	v.Params.Init(backend, 1, nil)
	e, err := eval.NewExtractor(b, v, eval.CLS, nil, data.ViewSpec{Height: 4, Width: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// job is a job over src that notes its messages.
func job(t *testing.T, src data.Source, out string) (*Job, *strings.Builder) {
	t.Helper()
	view, err := augment.NewWhole(augment.WholeConfig{Channels: 1, Height: 4, Width: 4, Mean: []float64{.5}, Std: []float64{.25}})
	if err != nil {
		t.Fatal(err)
	}
	log := new(strings.Builder)
	return &Job{
		Source: src, View: view, Extractor: extractor(t), Out: out, BatchSize: 3, Unchanged: func() error { return nil },
		Log: func(level, m string) { fmt.Fprintln(log, level, m) }, Progress: func(int) {},
	}, log
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// interrupt runs a job until the first images are done.
func interrupt(t *testing.T, j *Job) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	j.Progress = func(done int) {
		if done > 3 {
			cancel()
		}
	}
	if _, err := j.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	j.Progress = func(int) {}
}

// An interrupted job is continued to the bits of an unbroken one; images that cannot be read stay left out.
func TestContinues(t *testing.T) {
	dir := t.TempDir()
	bad := map[int]bool{1: true, 12: true}
	whole, _ := job(t, &numbered{n: 14, name: "a", bad: bad}, filepath.Join(dir, "whole.csv"))
	whole.MaxUnreadableShare = .2
	if _, err := whole.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	cut, log := job(t, &numbered{n: 14, name: "a", bad: bad}, filepath.Join(dir, "cut.csv"))
	cut.MaxUnreadableShare = .2
	interrupt(t, cut)
	// A killed process leaves half a row that no state counts.
	f, err := os.OpenFile(cut.Out+".part", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("half")
	f.Close()
	done, err := cut.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "INFO continuing behind 6 of 14 images") {
		t.Errorf("log %s", log)
	}
	if !strings.Contains(log.String(), "WARNING skipped a/12: damaged\n") {
		t.Errorf("log %s", log)
	}
	if done.Rows != 12 || done.Skipped != 2 {
		t.Errorf("%+v", done)
	}
	if !bytes.Equal(read(t, whole.Out), read(t, cut.Out)) {
		t.Errorf("continued:\n%s\nunbroken:\n%s", read(t, cut.Out), read(t, whole.Out))
	}
	if text := string(read(t, cut.Out+".skipped.csv")); text != "id,stage,reason\na/01,decoding,damaged\na/12,decoding,damaged\n" {
		t.Errorf("list:\n%s", text)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.*.[pl]*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Rows of other images, another model or other options are not continued, and that is said.
func TestBeginsAnewOnOtherImages(t *testing.T) {
	out := filepath.Join(t.TempDir(), "f.csv")
	first, _ := job(t, &numbered{n: 14, name: "a"}, out)
	first.Data.Files = "of the first folder"
	interrupt(t, first)
	second, log := job(t, &numbered{n: 14, name: "a"}, out)
	second.Data.Files = "of the second folder"
	done, err := second.Run(t.Context())
	if err != nil || done.Rows != 14 {
		t.Fatalf("%+v, %v", done, err)
	}
	if !strings.Contains(log.String(), "beginning anew") || strings.Contains(log.String(), "continuing") {
		t.Errorf("log %s", log)
	}
	interrupt(t, first)
	first.Restart = true
	var starts []int
	first.Progress = func(n int) { starts = append(starts, n) }
	if _, err := first.Run(t.Context()); err != nil || starts[0] != 0 {
		t.Errorf("with Restart the job begins at %d; %v", starts[0], err)
	}
}

func TestTooManyUnreadableImages(t *testing.T) {
	for name, bad := range map[string]map[int]bool{
		"two": {1: true, 5: true}, "the whole last batch": {12: true, 13: true}, "all": {0: true, 1: true, 2: true, 3: true, 4: true,
			5: true, 6: true, 7: true, 8: true, 9: true, 10: true, 11: true, 12: true, 13: true},
	} {
		j, _ := job(t, &numbered{n: 14, name: "a", bad: bad}, filepath.Join(t.TempDir(), "f.npy"))
		j.MaxUnreadableShare = .1
		_, err := j.Run(t.Context())
		var e *loader.UnreadableError
		if !errors.As(err, &e) || e.Of != 14 || e.MaxShare != .1 || len(e.Samples) < 2 {
			t.Errorf("%s: %v", name, err)
		}
		j.MaxUnreadableShare = .2
		done, err := j.Run(t.Context())
		if name == "all" {
			if err == nil {
				t.Error("all images are unreadable, and nobody said so")
			}
			continue
		}
		if err != nil || done.Rows != 12 || done.Skipped != 2 {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
	}
}

// What would spoil the end is found before the first image.
func TestOutIsTriedFirst(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder.npy")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	held := filepath.Join(dir, "held.npy")
	lock, err := durable.Lock(held + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, out := range []string{folder, held, filepath.Join(dir, "none", "f.npy")} {
		src := &numbered{n: 14, name: "a"}
		j, _ := job(t, src, out)
		var e *OutError
		if _, err := j.Run(t.Context()); !errors.As(err, &e) {
			t.Errorf("%s: %v", out, err)
		}
		if n := src.decoded.Load(); n != 0 {
			t.Errorf("%s: %d images were decoded first", out, n)
		}
	}
}

func TestNonFiniteFeaturesAreAnError(t *testing.T) {
	out := filepath.Join(t.TempDir(), "f.npy")
	j, _ := job(t, &numbered{n: 4, name: "a"}, out)
	w := augment.WholeConfig{Channels: 1, Height: 4, Width: 4, Mean: []float64{1e30}, Std: []float64{1e-30}}
	var err error
	if j.View, err = augment.NewWhole(w); err != nil {
		t.Fatal(err)
	}
	var e *NonFiniteError
	if _, err := j.Run(t.Context()); !errors.As(err, &e) || e.ID != "a/00" {
		t.Errorf("%v", err)
	}
	j.AllowNonFinite = true
	if _, err := j.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := read(t, out)
	if x := math.Float32frombits(binary.LittleEndian.Uint32(b[len(b)-4:])); !math.IsNaN(float64(x)) {
		t.Errorf("the last feature is %v", x)
	}
}
