package run

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/ssl/config"
)

func quickstart(t *testing.T, overrides ...string) *config.Config {
	t.Helper()
	c, err := config.Load("quickstart", append([]string{"output_folders.main_output=" + t.TempDir()}, overrides...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFolderLayout(t *testing.T) {
	c := quickstart(t)
	f, err := open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entries, err := os.ReadDir(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{".lock", "config.yaml", "log_files", "teacher_checkpoints", "train_checkpoints"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	stored, err := Stored(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := config.Diff(c, stored); diff != nil {
		t.Error(diff)
	}
}

func TestStoredConfigurationIsNeverOverwritten(t *testing.T) {
	c := quickstart(t)
	f, err := open(c)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	changed := *c
	changed.Train.LR *= 2
	f, err = open(&changed)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stored, err := Stored(f.Path)
	if err != nil || stored.Train.LR != c.Train.LR {
		t.Errorf("stored rate %v, %v; want %v", stored.Train.LR, err, c.Train.LR)
	}
}

func TestSecondWriterIsRefused(t *testing.T) {
	c := quickstart(t)
	f, err := open(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(c); err == nil || !strings.Contains(err.Error(), "is writing here") || !strings.Contains(err.Error(), "--output") {
		t.Errorf("got %v", err)
	}
	f.Close()
	f, err = open(c)
	if err != nil {
		t.Fatalf("after the first writer ended: %v", err)
	}
	f.Close()
}

func TestUnwritableFolder(t *testing.T) {
	c := quickstart(t)
	if err := os.WriteFile(filepath.Join(c.Output.MainOutput, "quickstart"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := open(c); err == nil || !strings.Contains(err.Error(), "give --output a folder that can be written") {
		t.Errorf("got %v", err)
	}
}

func TestHoldsBehindAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Holds(filepath.Join(file, "run")); err == nil || !strings.Contains(err.Error(), "give --output a folder") {
		t.Errorf("got %v", err)
	}
}

func TestMetricsAreCutBackToTheCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	write := func(from, to, openAt int) {
		m, err := openMetrics(path, openAt)
		if err != nil {
			t.Fatal(err)
		}
		for i := from; i < to; i++ {
			if err := m.write(&Step{Iteration: i, Loss: number(i)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.close(); err != nil {
			t.Fatal(err)
		}
	}
	write(0, 10, 0)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"iteration":10,"lo`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	write(7, 12, 7)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 12 {
		t.Fatalf("%d records: %s", len(lines), text)
	}
	for i, l := range lines {
		if !strings.HasPrefix(l, fmt.Sprintf(`{"iteration":%d,`, i)) {
			t.Errorf("record %d is %s", i, l)
		}
	}
	write(0, 1, 0)
	if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("a run from the start kept %q, %v", text, err)
	}
}

func TestNumbersThatAreNonFiniteBecomeNull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	m, err := openMetrics(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.write(&Step{Loss: number(math.NaN()), LR: number(math.Inf(1))}); err != nil {
		t.Fatal(err)
	}
	m.close()
	if text, _ := os.ReadFile(path); !strings.Contains(string(text), `"loss":null`) || !strings.Contains(string(text), `"lr":null`) {
		t.Errorf("%s", text)
	}
}

// The line of the paper's listing, from its values.
func TestLogLine(t *testing.T) {
	s := Step{Loss: 13.6886, Losses: []Part{{"dino_global", 1.2194}, {"dino_local", 9.8890}, {"ibot", 2.5802}}, LR: 16.0 / 999 * 1e-4, WeightDecay: .0400568, Momentum: .9960006,
		BatchSize: 64, Iteration: 16, Iterations: 2000, Memory: 2296 << 30 / 100, MemoryTotal: 4732 << 30 / 100}
	dir := t.TempDir()
	l, err := openLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.now = func() time.Time { return time.Date(2025, 4, 1, 1, 3, 24, 93e6, time.UTC) }
	if err := l.write("INFO", s.Line()); err != nil {
		t.Fatal(err)
	}
	l.close()
	text, err := os.ReadFile(filepath.Join(dir, "main_rank0.log"))
	if err != nil {
		t.Fatal(err)
	}
	want := "2025-04-01 01:03:24,093 - dino_trainer_rank0 - INFO - Total Loss: 13.6886 Local DINO: 9.8890 Global DINO: 1.2194 iBOT: 2.5802 " +
		"LR: 0.000002 Weight Decay: 0.040057 Teacher momentum: 0.996001 Current Batch Size: 64 Iteration: 16/2000 Gpu ID: 0 Memory: 22.96/47.32\n"
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
}
