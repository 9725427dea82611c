package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The essential arrangements of folders: how each is read, or both ways in which it can be.
func TestLayouts(t *testing.T) {
	classes := []string{"bus/0.png", "bus/1.png", "car/0.png", "car/1.png", "van/0.png", "van/1.png"}
	splits := []string{"train/a/0.png", "train/b/0.png", "train/b/1.png", "test/a/0.png", "test/b/0.png"}
	for _, c := range []struct {
		name  string
		files []string
		o     Options
		want  string // the reading, or a part of the error
	}{
		{"classes", classes, Options{}, "3 classes, 6 images, splits: none"},
		{"flat", []string{"0.png", "1.png"}, Options{}, "no classes, 2 images, splits: none"},
		{"one class", []string{"bus/0.png", "bus/1.png"}, Options{}, "1 class, 2 images, splits: none"},
		{"classes with folders in them", []string{"a/x/0.png", "a/y/0.png", "b/0.png"}, Options{},
			"2 classes, 3 images, splits: none"},
		{"splits", splits, Options{}, "2 classes, 3 images of split train, splits: test, train"},
		{"the other split", splits, Options{Split: "test"}, "2 classes, 2 images of split test, splits: test, train"},
		{"auto is test", splits, Options{Split: "auto"}, "2 classes, 2 images of split test, splits: test, train"},
		{"no such split", splits, Options{Split: "val"}, "no split"},
		{"other names of splits", []string{"Training/a/0.png", "Validation/a/0.png"}, Options{Split: "val"},
			"1 class, 1 image of split Validation, splits: Training, Validation"},
		{"flat splits", []string{"train/0.png", "test/0.png"}, Options{},
			"no classes, 1 image of split train, splits: test, train; layout classes reads 2 classes (test, train) of 2 images"},
		{"classes of splits that differ", []string{"train/a/0.png", "val/images/0.png"}, Options{Split: "val"},
			"1 class, 1 image of split val, splits: train, val"},
		{"a class called train", []string{"bus/0.png", "car/0.png", "train/0.png"}, Options{},
			"layout classes reads 3 classes (bus, car, train) of 3 images; layout splits reads 1 split (train) of 1 image and leaves out 2 pictures"},
		{"a class called train that is named as the split", []string{"bus/0.png", "car/0.png", "train/0.png"},
			Options{Split: "train"},
			"no classes, 1 image of split train, splits: train; left out: 2 beside the split folders"},
		{"that said to be a class", []string{"bus/0.png", "car/0.png", "train/0.png"}, Options{Layout: Classes},
			"3 classes, 3 images, splits: none"},
		{"that said to be a split", []string{"bus/0.png", "car/0.png", "train/0.png"}, Options{Layout: Splits},
			"no classes, 1 image of split train, splits: train; left out: 2 beside the split folders"},
		{"classes called test and val", []string{"val/0.png", "test/0.png"}, Options{Split: "auto"},
			"layout classes reads 2 classes (test, val) of 2 images; layout splits reads 2 splits (test, val) of 2 images"},
		{"two names of one split", []string{"train/0.png", "training/0.png"}, Options{},
			"layout classes reads 2 classes (train, training)"},
		{"two names of one split with classes", []string{"val/a/0.png", "validation/a/0.png", "train/a/0.png"}, Options{},
			"layout classes reads 3 classes"},
		{"a class called train among nested ones", []string{"bus/x/0.png", "train/y/0.png"}, Options{},
			"layout classes reads 2 classes (bus, train)"},
		{"a folder beside sure splits", append([]string{"more/0.png"}, splits...), Options{},
			"2 classes, 3 images of split train, splits: test, train; left out: 1 beside the split folders"},
		{"splits of another name", []string{"fold1/a/0.png", "fold2/a/0.png"}, Options{Split: "fold2"},
			"1 class, 1 image of split fold2, splits: fold1, fold2"},
		{"splits a folder deeper", []string{"set/train/a/0.png", "set/test/a/0.png"}, Options{},
			"layout classes reads 1 class (set) of 2 images; layout splits"},
		{"a stray picture", append([]string{"0.png"}, classes...), Options{},
			"3 classes, 6 images, splits: none; left out: 1 beside the class folders"},
		{"many stray pictures", append([]string{"0.png", "1.png", "2.png"}, classes...), Options{},
			"layout classes reads 3 classes of 6 images and leaves out 3 pictures beside them; layout flat reads 9 images without classes"},
		{"those said to be all", append([]string{"0.png", "1.png", "2.png"}, classes...), Options{Layout: Flat},
			"no classes, 9 images, splits: none"},
		{"a stray picture in a split", append([]string{"train/0.png", "train/a/1.png"}, splits...), Options{},
			"2 classes, 4 images of split train, splits: test, train; left out: 1 beside the class folders"},
		{"no split folder where splits are said", classes, Options{Layout: Splits},
			"no folder is named after a split (train, val, test); there is bus, car, van"},
		{"flat has no splits", splits, Options{Layout: Flat, Split: "test"}, "no split"},
		{"other files", append([]string{"labels.csv", ".DS_Store", ".hidden/0.png", "bus/._0.png", "bus/readme.txt",
			"empty/x.txt"}, classes...), Options{},
			"3 classes, 6 images, splits: none; left out: 1 folder without a picture, 2 hidden, 3 not named as a picture"},
		{"files of the other split", append([]string{"test/a.txt", "train/b.txt"}, splits...), Options{},
			"2 classes, 3 images of split train, splits: test, train; left out: 1 not named as a picture"},
		{"no picture", []string{"a.txt", "b/c.csv"}, Options{}, "no image below this folder; expected files ending in .png"},
		{"an array file alone", []string{"set.npz"}, Options{}, "the path of the data may be "},
		{"pictures where archives are said", classes, Options{Layout: Archives}, "no tar or IDX files in this folder"},
	} {
		root := tree(t, c.files...)
		d, err := Open(root, c.o)
		if err != nil {
			ambiguous := errors.As(err, new(*Ambiguous))
			if strings.HasPrefix(c.want, "layout") != ambiguous {
				t.Errorf("%s: ambiguous %v: %v", c.name, ambiguous, err)
			}
			if errors.Is(err, ErrNoSplit) != strings.HasPrefix(c.want, "no split") && c.o.Layout != Splits {
				t.Errorf("%s: no such split %v: %v", c.name, errors.Is(err, ErrNoSplit), err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
			}
			continue
		}
		if got := d.Reading(); got != c.want {
			t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
		}
	}
}

// The pictures of an archive are arranged by the same rules.
func TestArchiveLayouts(t *testing.T) {
	for _, c := range []struct {
		files []string
		o     Options
		want  string
	}{
		{[]string{"./bus/0.png", "./car/0.png"}, Options{}, "2 classes, 2 images, splits: none"},
		{[]string{"train/a/0.png", "test/a/0.png"}, Options{Split: "test"},
			"1 class, 1 image of split test, splits: test, train"},
		{[]string{"bus/0.png", "train/0.png"}, Options{}, "layout classes reads 2 classes (bus, train)"},
		{[]string{"bus/0.png", "train/0.png"}, Options{Layout: Classes}, "2 classes, 2 images, splits: none"},
		{[]string{"bus/0.png", "bus/._0.png", "notes.txt"}, Options{},
			"1 class, 1 image, splits: none; left out: 1 hidden, 1 not named as a picture"},
	} {
		name := filepath.Join(t.TempDir(), "a.tar")
		write(t, name, archive(t, c.files...))
		d, err := Open(name, c.o)
		if err != nil {
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: %v\nwant %s", c.files, err, c.want)
			}
			continue
		}
		if got := d.Reading(); got != c.want {
			t.Errorf("%v: %s\nwant %s", c.files, got, c.want)
		}
	}
}

// Archives beside pictures are asked about; neither hides the other.
func TestArchivesBesidePictures(t *testing.T) {
	root := tree(t, "bus/0.png", "car/0.png", "car/1.png")
	write(t, filepath.Join(root, "more.tar"), archive(t, "x/0.png"))
	_, err := Open(root, Options{})
	if !errors.As(err, new(*Ambiguous)) || !strings.Contains(err.Error(), "layout archives reads the tar files") ||
		!strings.Contains(err.Error(), "layout classes reads 3 pictures and leaves the archives out") {
		t.Errorf("%v", err)
	}
	for layout, want := range map[Layout]string{
		Archives: "1 class, 1 image, splits: none",
		Classes:  "2 classes, 3 images, splits: none; left out: 1 archive beside the pictures",
	} {
		d, err := Open(root, Options{Layout: layout})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Reading(); got != want {
			t.Errorf("layout %s: %s\nwant %s", layout, got, want)
		}
	}
	write(t, filepath.Join(root, "train-images-idx3-ubyte"), idx([]int{1, 2, 2}, counting(4)))
	if _, err := Open(root, Options{}); !errors.As(err, new(*Ambiguous)) || !strings.Contains(err.Error(), "layout archives reads the IDX files") {
		t.Errorf("%v", err)
	}
}

// What cannot be read as a file is left out with its reason, and nothing waits for a pipe.
func TestLinksAndSpecialFiles(t *testing.T) {
	root := tree(t, "bus/0.png", "car/0.png", "elsewhere.txt")
	other := tree(t, "0.png")
	for link, to := range map[string]string{
		"bus/gone.png": "nowhere.png", "bus/self.png": "self.png", "car/up": "..", "van": other, "car/1.png": "../bus/0.png",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	pipe := filepath.Join(root, "car", "pipe.png")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := Open(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := "3 classes, 4 images, splits: none; left out: 1 link back to a folder above it, 1 link that leads back to itself, " +
		"1 link to nothing, 1 not named as a picture, 1 special file, such as a pipe or a socket"
	if got := d.Reading(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	for name, want := range map[string]string{pipe: "special file", filepath.Join(root, "gone.npz"): "no such file"} {
		if _, err := Open(name, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A class has one name in every split, however the file system composes it, and names that are not text are readable.
func TestNamesOfClasses(t *testing.T) {
	root := tree(t, "train/\u00d6dem/0.png", "train/Norm/0.png", "train/b\xff/0.png", "test/O\u0308dem/0.png",
		"test/b\xff/1\xfe.png")
	train, err := Open(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	test, err := Open(root, Options{Split: "test"})
	if err != nil {
		t.Fatal(err)
	}
	onlyTrain, onlyTest := Join(train, test)
	if strings.Join(onlyTrain, ",") != "Norm" || len(onlyTest) > 0 {
		t.Errorf("only in train: %q, only in test: %q", onlyTrain, onlyTest)
	}
	for i := range test.Len() {
		label, ok := test.Label(i)
		if !ok || !strings.Contains(test.ID(i), map[int]string{1: `b\xff`, 2: "dem"}[label]) {
			t.Errorf("%s is of class %d %v", test.ID(i), label, ok)
		}
	}
	if id := test.ID(1); !strings.HasSuffix(id, `/b\xff/1\xfe.png`) && !strings.HasSuffix(test.ID(0), `/b\xff/1\xfe.png`) {
		t.Errorf("no sample is called 1\\xfe.png: %s, %s", test.ID(0), id)
	}
	var errOf = func(names ...string) error { _, err := Open(tree(t, names...), Options{}); return err }
	if err := errOf("\u00d6dem/0.png", "O\u0308dem/0.png"); err == nil || !strings.Contains(err.Error(), "both named \u00d6dem") {
		t.Errorf("two folders of one name: %v", err)
	}
}

// Classes meet by their names, whatever their numbers in either split; those that do not are listed.
func TestJoin(t *testing.T) {
	root := tree(t, "train/a/0.png", "train/b/0.png", "train/c/0.png", "test/b/0.png", "test/c/0.png", "test/d/0.png")
	train, err := Open(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	test, err := Open(root, Options{Split: "test"})
	if err != nil {
		t.Fatal(err)
	}
	onlyTrain, onlyTest := Join(train, test)
	if strings.Join(onlyTrain, ",") != "a" || strings.Join(onlyTest, ",") != "d" {
		t.Errorf("only in train: %q, only in test: %q", onlyTrain, onlyTest)
	}
	for i := range test.Len() {
		label, _ := test.Label(i)
		if name := test.Classes()[label]; !strings.Contains(test.ID(i), "/test/"+name+"/") || label < 3 && train.Classes()[label] != name {
			t.Errorf("%s is of class %d, %s", test.ID(i), label, name)
		}
	}
	if err := test.SetChannels(3); err != nil || test.Channels() != 3 {
		t.Errorf("%d channels after the join: %v", test.Channels(), err)
	}
}

// A data set is another one when it lies elsewhere, when a file of it is replaced or touched, and when samples or
// labels change.
func TestIdentity(t *testing.T) {
	build := func() string { return tree(t, "a/0.png", "a/1.png", "b/0.png") }
	identify := func(root string) Identity {
		t.Helper()
		d, err := Open(root, Options{})
		if err != nil {
			t.Fatal(err)
		}
		id, err := d.Identity()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	root := build()
	first := identify(root)
	if again := identify(root); again.Changes(first) != "" || again != first {
		t.Errorf("opened again: %s", again.Changes(first))
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	if through := identify(link); through != first {
		t.Errorf("through a link: %s", through.Changes(first))
	}
	target := filepath.Join(root, "a", "1.png")
	info, err := os.Stat(target)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(root string)
		want   string
	}{
		{"same length and time", func(root string) {
			write(t, target, picture(t, 77))
			if err := os.Chtimes(target, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		}, "files replaced"},
		{"same content, another time", func(root string) {
			write(t, target, picture(t, 1))
			if err := os.Chtimes(target, info.ModTime(), info.ModTime().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
		}, "files replaced"},
		{"another name", func(root string) { os.Rename(target, filepath.Join(root, "a", "2.png")) }, "other names"},
		{"another class", func(root string) {
			os.Rename(filepath.Join(root, "a", "2.png"), filepath.Join(root, "b", "2.png"))
		}, "other names"},
		{"one more", func(root string) { write(t, filepath.Join(root, "a", "3.png"), picture(t, 3)) },
			"4 images where there were 3"},
	} {
		before := identify(root)
		c.change(root)
		if got := identify(root).Changes(before); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %s", c.name, got, c.want)
		}
	}
	elsewhere := identify(root)
	elsewhere.Root = "/elsewhere"
	if got := identify(root).Changes(elsewhere); got != "another place: /elsewhere before" {
		t.Errorf("moved: %q", got)
	}
	embedded := identify("embedded:fashion-mnist")
	if again := identify("embedded:fashion-mnist"); again != embedded {
		t.Errorf("embedded: %s", again.Changes(embedded))
	}
}
