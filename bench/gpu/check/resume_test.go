package check

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/ssl/config"
	"github.com/dino-mx/dmx/ssl/run"
)

// A run that is stopped and resumed ends in the same checkpoint as an unbroken one, and so does a second unbroken one:
// every file has the same bits.
func TestRunResumes(t *testing.T) {
	total, stop := 2, 1
	overrides := []string{
		"model.hidden_size=32", "model.num_attention_heads=1", "model.num_hidden_layers=1", "train.global_batch_size=2",
		"dino_head.hidden_dim=32", "dino_head.bottleneck_dim=32", "dino_head.out_dim=64", "ibot.out_dim=64",
	}
	if real() {
		total, stop, overrides = 200, 77, nil
	}
	dir := t.TempDir()
	first, second, broken := filepath.Join(dir, "first"), filepath.Join(dir, "second"), filepath.Join(dir, "broken")
	work := func(folder string, resume bool, stopAt int) error {
		c, err := config.Load("quickstart", append(overrides, "output_folders.main_output="+dir, "train.model_name="+filepath.Base(folder),
			fmt.Sprintf("train.max_iterations=%d", total), fmt.Sprintf("train.warmup_iterations=%d", total/2),
			fmt.Sprintf("train.freeze_last_layer=%d", total/2), "evaluation.knn=false")...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		_, err = run.Train(ctx, c, run.Options{
			Device: *device, Resume: resume, Log: func(string, string) {},
			Step: func(s *run.Step) {
				if s.Iteration+1 == stopAt {
					cancel()
				}
			},
		})
		return err
	}
	for _, folder := range []string{first, second} {
		if err := work(folder, false, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := work(broken, false, stop); !errors.Is(err, context.Canceled) {
		t.Fatalf("the run to be stopped at step %d: %v", stop, err)
	}
	if err := work(broken, true, 0); err != nil {
		t.Fatal(err)
	}
	want := digests(t, first)
	for name, folder := range map[string]string{"a second run": second, "the resumed run": broken} {
		got := digests(t, folder)
		for file := range got {
			if _, ok := want[file]; !ok {
				delete(got, file) // the checkpoint of the stop
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s is not the first (-first +other):\n%s", name, diff)
		}
	}
}

// digests hashes every file below the checkpoint folders of a run.
func digests(t *testing.T, folder string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	for _, dir := range []string{"train_checkpoints", "teacher_checkpoints"} {
		err := filepath.WalkDir(filepath.Join(folder, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(folder, path)
			if err != nil {
				return err
			}
			sums[name] = fmt.Sprintf("%x", sha256.Sum256(text))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(sums) == 0 {
		t.Fatalf("%s has no checkpoint", folder)
	}
	return sums
}
