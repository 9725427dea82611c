package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// splitsOf writes three pictures of each class for each split. They depend on the first letter of the class alone.
func splitsOf(t *testing.T, classes map[string][]string) string {
	t.Helper()
	root := t.TempDir()
	for split, names := range classes {
		for _, name := range names {
			for i := range 3 {
				s := samples{side: 16, count: 1, classes: 1}
				picture := s.png(t, uint32(name[0])*7, i)
				write(t, filepath.Join(root, split, name, fmt.Sprintf("%d.png", i)), picture)
			}
		}
	}
	return root
}

// Classes are those of the folders' names: a class that one split lacks moves no other.
func TestKNNJoinsClassesByName(t *testing.T) {
	for _, c := range []struct {
		classes map[string][]string
		code    int
		want    []string
	}{
		{map[string][]string{"train": {"a", "b", "c"}, "test": {"b", "c"}}, 0,
			[]string{"raw pixels   100.0", "classes of split train without an image in split test: the class a"}},
		{map[string][]string{"train": {"\u00d6", "N"}, "test": {"O\u0308", "N"}}, 0,
			[]string{"2 classes, 6 images of split test"}},
		{map[string][]string{"train": {"a", "b"}, "test": {"a", "b", "z"}}, 0,
			[]string{"that split train lacks count as wrong: the class z"}},
		{map[string][]string{"train": {"a", "b"}, "val": {"images"}}, 1,
			[]string{"--split: no kNN accuracy is measured: split val has the class images, split train has a, b, and no class is in both"}},
	} {
		code, out, errOut := dmx(t, "knn", "--checkpoint", modelDir+"dinov2", "--data", splitsOf(t, c.classes), "--k", "3")
		if code != c.code {
			t.Fatalf("%v: code %d: %s%s", c.classes, code, out, errOut)
		}
		for _, want := range c.want {
			if !strings.Contains(out+errOut, want) {
				t.Errorf("%v: no %q in %s%s", c.classes, want, out, errOut)
			}
		}
	}
}

// Folders that may be classes or splits are asked about, by the name of the flag or the key that decides.
func TestLayoutIsAskedFor(t *testing.T) {
	root := splitsOf(t, map[string][]string{"bus": {"."}, "train": {"."}, "car": {"."}})
	out := filepath.Join(t.TempDir(), "f.npy")
	code, _, errOut := dmx(t, "embed", "--model", modelDir+"dinov2", "--data", root, "--out", out)
	if code != 1 || !strings.Contains(errOut, "--layout: ") || !strings.Contains(errOut, "layout classes reads 3 classes (bus, car, train) of 9 images") {
		t.Errorf("embed: code %d: %s", code, errOut)
	}
	code, _, errOut = dmx(t, "embed", "--model", modelDir+"dinov2", "--data", root, "--out", out, "--layout", "classes")
	if code != 0 || !strings.Contains(errOut, "3 classes, 9 images, splits: none") {
		t.Errorf("embed: code %d: %s", code, errOut)
	}
	code, errOut = trainOn(t, t.TempDir(), root, "evaluation.knn=false")
	if code != 1 || !strings.Contains(errOut, "dataset.layout: ") {
		t.Errorf("train: code %d: %s", code, errOut)
	}
	code, errOut = trainOn(t, t.TempDir(), root, "evaluation.knn=false", "dataset.layout=splits",
		"train.global_batch_size=3")
	if code != 0 || !strings.Contains(errOut, "no classes, 3 images of split train, splits: train; left out: 6 beside the split folders") {
		t.Errorf("train: code %d: %s", code, errOut)
	}
}

// A run that is resumed says when its images are not those it began with.
func TestResumeReportsReplacedImages(t *testing.T) {
	dir := trainMicro(t, "evaluation.knn=false")
	resume := func(steps string) string {
		t.Helper()
		code, _, errOut := dmx(t, "train", "--resume", "--output", dir, "train.max_iterations="+steps)
		if code != 0 {
			t.Fatalf("code %d: %s", code, errOut)
		}
		return errOut
	}
	const warning = "are not those the run began with: files replaced"
	if errOut := resume("5"); strings.Contains(errOut, warning) {
		t.Errorf("the same images: %s", errOut)
	}
	found, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "data", "train", "*", "*.png"))
	if err != nil || len(found) < 2 {
		t.Fatal(found, err)
	}
	other, err := os.ReadFile(found[1])
	if err != nil {
		t.Fatal(err)
	}
	write(t, found[0], other)
	if errOut := resume("6"); !strings.Contains(errOut, warning) {
		t.Errorf("a picture was replaced, and nobody said so: %s", errOut)
	}
}

// The embedded images can be named wherever a path can.
func TestTrainOnEmbeddedImages(t *testing.T) {
	code, errOut := trainOn(t, t.TempDir(), "embedded:fashion-mnist", "evaluation.knn=false")
	if code != 0 || !strings.Contains(errOut, "10 classes, 5000 images of split train, splits: test, train") {
		t.Errorf("code %d: %s", code, errOut)
	}
}

// An interrupted job is continued on the same pictures, and begins anew when one of them was replaced under its name.
func TestEmbedDoesNotContinueOnOtherPictures(t *testing.T) {
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "f.npy")
	picture := func(i int, content []byte) { write(t, filepath.Join(dir, fmt.Sprintf("%02d.png", i)), content) }
	for i := range 20 {
		picture(i, tiny.png(t, 0, i))
	}
	picture(15, []byte("damaged"))
	run := func(out string) (int, string) {
		code, _, errOut := dmx(t, "embed", "--model", modelDir+"dinov2", "--data", dir, "--out", out, "--batch-size", "1",
			"--workers", "1", "--max-unreadable-share", "0")
		return code, errOut
	}
	if code, errOut := run(out); code != 1 || !strings.Contains(errOut, "15.png") {
		t.Fatalf("code %d: %s", code, errOut)
	}
	if code, errOut := run(out); code != 1 || !strings.Contains(errOut, "continuing behind") {
		t.Errorf("the same pictures: code %d: %s", code, errOut)
	}
	picture(3, tiny.png(t, 1, 3))
	picture(15, tiny.png(t, 0, 15))
	if code, errOut := run(out); code != 0 || !strings.Contains(errOut, "beginning anew") {
		t.Errorf("other pictures: code %d: %s", code, errOut)
	}
	fresh := filepath.Join(t.TempDir(), "f.npy")
	if code, errOut := run(fresh); code != 0 {
		t.Fatalf("code %d: %s", code, errOut)
	}
	var got [2][]byte
	for i, name := range []string{out, fresh} {
		var err error
		if got[i], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	if string(got[0]) != string(got[1]) {
		t.Error("the rows are not those of the pictures that are there")
	}
}
