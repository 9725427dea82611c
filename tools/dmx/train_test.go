package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/ssl/run"
)

// trainMicro trains on tiny PNG images and returns the run folder.
func trainMicro(t *testing.T, extra ...string) string {
	t.Helper()
	dir := t.TempDir()
	tiny.pngFolder(t, filepath.Join(dir, "data"))
	code, errOut := trainOn(t, dir, filepath.Join(dir, "data"), extra...)
	if code != 0 {
		t.Fatalf("code %d: %s", code, errOut)
	}
	return filepath.Join(dir, "run")
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	sort.Strings(names)
	return names
}

// record is a line of metrics.jsonl.
type record struct {
	run.Step
	losses struct {
		DinoLocal  float64  `json:"dino_local"`
		DinoGlobal float64  `json:"dino_global"`
		IBOT       float64  `json:"ibot"`
		KoLeo      *float64 `json:"koleo"`
	}
}

func records(t *testing.T, dir string) []record {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var steps []record
	for _, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		var s record
		for _, dst := range []any{&s.Step, &s.losses} {
			if err := json.Unmarshal(line, dst); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
		}
		steps = append(steps, s)
	}
	return steps
}

func TestTrainWritesTheRunFolder(t *testing.T) {
	dir := trainMicro(t, "watch.every=1", "koleo.loss_weight=0.1", "evaluation.every=2")
	want := []string{".lock", "config.yaml", "log_files", "metrics.jsonl", "summary.json", "teacher_checkpoints", "train_checkpoints"}
	if diff := cmp.Diff(want, list(t, dir)); diff != "" {
		t.Error(diff)
	}
	for _, sub := range []string{"train_checkpoints", "teacher_checkpoints"} {
		if diff := cmp.Diff([]string{"iter_2", "iter_4"}, list(t, filepath.Join(dir, sub))); diff != "" {
			t.Errorf("%s: %s", sub, diff)
		}
	}
	steps := records(t, dir)
	if len(steps) != 4 {
		t.Fatalf("%d records", len(steps))
	}
	for i, s := range steps {
		if s.Iteration != i || s.BatchSize != 4 || s.ImagesPerSecond <= 0 || s.Memory == 0 || s.MFU <= 0 || s.FeatureStd == nil || s.PrototypeEntropy == nil || s.losses.KoLeo == nil {
			t.Errorf("record %d: %+v", i, s)
		}
		parts := s.losses.DinoLocal + s.losses.DinoGlobal + s.losses.IBOT + *s.losses.KoLeo
		if d := parts - float64(s.Loss); d > 1e-5 || d < -1e-5 {
			t.Errorf("record %d: the parts sum to %v, the loss is %v", i, parts, s.Loss)
		}
		if (s.KNNCLS != nil) != (i%2 == 1) {
			t.Errorf("record %d: kNN %v", i, s.KNNCLS)
		}
	}
	sum, err := run.ReadSummary(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !sum.Finished || sum.Iterations != 4 || sum.WallSeconds <= 0 || sum.ImagesPerSecond <= 0 || sum.KNN == nil || sum.KNN.Split != "test" ||
		sum.KNN.Raw == nil || sum.KNN.Untrained == nil || sum.KNN.Teacher == nil || *sum.KNN.Raw < 90 {
		t.Errorf("%+v", sum)
	}
	log, err := os.ReadFile(filepath.Join(dir, "log_files", "main_rank0.log"))
	if err != nil || !strings.Contains(string(log), "Iteration: 0/4 Gpu ID: 0 Memory: ") || !strings.Contains(string(log), "Iteration: 3/4") {
		t.Errorf("%v:\n%s", err, log)
	}
	code, out, errOut := dmx(t, "knn", "--checkpoint", dir, "--data", filepath.Join(filepath.Dir(dir), "data"), "--k", "3")
	if code != 0 || !strings.Contains(out, percent(sum.KNN.Teacher)) || !strings.Contains(out, percent(sum.KNN.TeacherMeanPatch)) {
		t.Errorf("knn: code %d: %s%s; the run measured %s and %s", code, out, errOut, percent(sum.KNN.Teacher), percent(sum.KNN.TeacherMeanPatch))
	}
}

// The newest three checkpoints stay, and every keep_every-th.
func TestOldCheckpointsGo(t *testing.T) {
	dir := trainMicro(t, "train.max_iterations=9", "train.saveckp_freq=1", "output_folders.keep_every=4", "evaluation.knn=false")
	if diff := cmp.Diff([]string{"iter_4", "iter_7", "iter_8", "iter_9"}, list(t, filepath.Join(dir, "train_checkpoints"))); diff != "" {
		t.Error(diff)
	}
}

// A finished run that is started again is left as it is (defect B9 of DINO-MX).
func TestFinishedRunIsNotTouched(t *testing.T) {
	dir := trainMicro(t)
	before := snapshot(t, dir)
	code, out, errOut := dmx(t, "train", "--resume", "--output", dir)
	if code != 0 || !strings.Contains(errOut, "is finished") || !strings.Contains(out, "trained teacher") {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
	if diff := cmp.Diff(before, snapshot(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestFolderWithARunIsNotOverwritten(t *testing.T) {
	dir := trainMicro(t, "evaluation.knn=false")
	code, errOut := trainOn(t, filepath.Dir(dir), filepath.Join(filepath.Dir(dir), "data"))
	if code != 1 || !strings.Contains(errOut, "holds a run; add --resume") {
		t.Errorf("code %d: %s", code, errOut)
	}
}

func TestResumeNeedsARun(t *testing.T) {
	code, _, errOut := dmx(t, "train", "--resume", "--output", t.TempDir())
	if code != 1 || !strings.Contains(errOut, "holds no run") {
		t.Errorf("code %d: %s", code, errOut)
	}
}

// A longer run continues the metrics, and says what was changed.
func TestResumeReportsChanges(t *testing.T) {
	dir := trainMicro(t, "evaluation.knn=false")
	code, _, errOut := dmx(t, "train", "--resume", "--output", dir, "train.max_iterations=6", "train.lr=0.01")
	if code != 0 || !strings.Contains(errOut, "changed since the run began: train.max_iterations: 4 -> 6") ||
		!strings.Contains(errOut, "changed since the run began: train.lr: 0.001 -> 0.01") || !strings.Contains(errOut, "from iteration 4") {
		t.Errorf("code %d: %s", code, errOut)
	}
	if steps := records(t, dir); len(steps) != 6 || steps[5].Iteration != 5 {
		t.Errorf("%d records", len(steps))
	}
}

// Two runs with one seed write the same checkpoints, byte for byte, with any number of workers; another seed does not.
func TestSameSeedSameBytes(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	tiny.pngFolder(t, data)
	final := func(extra ...string) map[string]string {
		dir := t.TempDir()
		if code, errOut := trainOn(t, dir, data, append(extra, "evaluation.knn=false")...); code != 0 {
			t.Fatalf("code %d: %s", code, errOut)
		}
		return snapshot(t, filepath.Join(dir, "run", "train_checkpoints", "iter_4"))
	}
	a := final()
	if diff := cmp.Diff(a, final("train.num_workers=3")); diff != "" {
		t.Error("the number of workers shows in the checkpoint: ")
	}
	if b := final("train.seed=43"); a["student.safetensors"] == b["student.safetensors"] {
		t.Error("the seed does not show in the checkpoint")
	}
}

// A run that a signal stops, and that is resumed, ends with the bytes of an unbroken one.
func TestSignalAndResume(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	tiny.idxFolder(t, data, false)
	long := append([]string{"train", "--data", data}, append(micro, "train.max_iterations=400", "train.saveckp_freq=1000", "evaluation.knn=false")...)
	if code, _, errOut := dmx(t, append(long, "--output", filepath.Join(dir, "whole"))...); code != 0 {
		t.Fatal(errOut)
	}
	broken := filepath.Join(dir, "broken")
	cmd := process(append(long, "--output", broken)...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if text, _ := os.ReadFile(filepath.Join(broken, "metrics.jsonl")); bytes.Count(text, []byte("\n")) > 10 {
			break
		}
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatalf("no steps: %s", &errOut)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code == 0 {
		t.Skip("the run was over before the signal")
	} else if code != 1 || !strings.Contains(errOut.String(), "go on with: dmx train --resume --output "+broken) {
		t.Fatalf("%v: %s", err, &errOut)
	}
	if names := list(t, filepath.Join(broken, "train_checkpoints")); len(names) != 1 {
		t.Fatalf("checkpoints %v", names)
	}
	if code, _, errOut := dmx(t, "train", "--resume", "--output", broken); code != 0 {
		t.Fatal(errOut)
	}
	for _, sub := range []string{"train_checkpoints/iter_400", "teacher_checkpoints/iter_400"} {
		if diff := cmp.Diff(snapshot(t, filepath.Join(dir, "whole", sub)), snapshot(t, filepath.Join(broken, sub))); diff != "" {
			t.Errorf("%s differs", sub)
		}
	}
	if n := len(records(t, broken)); n != 400 {
		t.Errorf("%d records", n)
	}
}

// A damaged newest checkpoint is reported and the one before it is used.
func TestDamagedCheckpointIsReported(t *testing.T) {
	dir := trainMicro(t, "evaluation.knn=false")
	if err := os.Truncate(filepath.Join(dir, "train_checkpoints", "iter_4", "student.safetensors"), 100); err != nil {
		t.Fatal(err)
	}
	code, _, errOut := dmx(t, "train", "--resume", "--output", dir, "train.max_iterations=5")
	if code != 0 || !strings.Contains(errOut, "student.safetensors has 100 bytes") || !strings.Contains(errOut, "from iteration 2") {
		t.Errorf("code %d: %s", code, errOut)
	}
}

func TestBadInputLeavesNoRunFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "text", "a.txt"), []byte("no image"))
	tiny.pngFolder(t, filepath.Join(dir, "data"))
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no data", []string{"--data", filepath.Join(dir, "nowhere")}, "dmx: --data: stat " + filepath.Join(dir, "nowhere")},
		{"no data in the configuration", []string{"dataset.dataset_path=/nowhere"}, "dmx: dataset.dataset_path: stat /nowhere"},
		{"neither data nor weights", []string{"--config", "dino"}, "dataset/dermamnist: no such file or directory; "},
		{"more neighbours than images", []string{"evaluation.knn=true", "evaluation.knn_k=9999"}, "fewer than k = 9999"},
		{"no images", []string{"--data", filepath.Join(dir, "text")}, "text"},
		{"two channels wanted", []string{"--data", filepath.Join(dir, "data"), "model.num_channels=2"}, "model.num_channels: 2"},
		{"batch above the data", []string{"--data", filepath.Join(dir, "data"), "train.global_batch_size=500"}, "500"},
		{"weights that are not there", []string{"--data", filepath.Join(dir, "data"), "train.use_pretrained=true", "train.model_type=facebook/dino-vits16"}, "facebook/dino-vits16"},
		{"no masked patch", []string{"--data", filepath.Join(dir, "data"), "ibot.mask_ratio_min_max=[0.01, 0.02]"}, "ibot.mask_ratio_min_max"},
	} {
		out := filepath.Join(t.TempDir(), "run")
		args := append(append([]string{"train", "--output", out}, micro...), c.args...)
		code, _, errOut := dmx(t, args...)
		if code != 1 || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: code %d: %s", c.name, code, errOut)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: a run folder was made: %v", c.name, list(t, out))
		}
	}
}

func TestUnwritableOutput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	code, _, errOut := dmx(t, "train", "--output", filepath.Join(file, "run"))
	if code != 1 || !strings.Contains(errOut, "file") {
		t.Errorf("code %d: %s", code, errOut)
	}
}

// Every image that cannot be read is named on standard error and in the log, and stands in the run folder with the
// reason; a resumed run does not name it again.
func TestSkippedImagesAreNamed(t *testing.T) {
	dir := t.TempDir()
	tiny.pngFolder(t, filepath.Join(dir, "data"))
	bad := filepath.Join(dir, "data", "train", "class1", "01.png")
	whole, err := os.ReadFile(bad)
	if err != nil {
		t.Fatal(err)
	}
	write(t, bad, whole[:len(whole)/2])
	notes := filepath.Join(dir, "data", "train", "class1", "notes.txt")
	write(t, notes, []byte("no picture"))
	code, errOut := trainOn(t, dir, filepath.Join(dir, "data"), "dataset.max_unreadable_share=0.5", "train.max_iterations=8", "evaluation.knn=false")
	if code != 0 || strings.Count(errOut, "warning: skipped "+bad+": ") != 1 ||
		!strings.Contains(errOut, "warning: skipped "+notes+": not named as a picture\n") {
		t.Errorf("code %d: %s", code, errOut)
	}
	folder := filepath.Join(dir, "run")
	list, err := os.ReadFile(filepath.Join(folder, "skipped.csv"))
	if err != nil || !strings.HasPrefix(string(list), "id,stage,reason\n"+notes+",listing,not named as a picture\n"+bad+",decoding,") {
		t.Errorf("%v\n%s", err, list)
	}
	log, err := os.ReadFile(filepath.Join(folder, "log_files", "main_rank0.log"))
	if err != nil || !strings.Contains(string(log), "WARNING - skipped "+bad) {
		t.Errorf("%v\n%s", err, log)
	}
	code, _, errOut = dmx(t, "train", "--resume", "--output", folder, "train.max_iterations=16")
	if code != 0 || strings.Contains(errOut, "skipped ") {
		t.Errorf("code %d: %s", code, errOut)
	}
	sum, err := run.ReadSummary(folder)
	if err != nil || sum.Unreadable != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
}
