package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// two writes a checkpoint of two files, one of them in a sub-folder.
func two(text string) func(string) error {
	return func(dir string) error {
		if err := os.Mkdir(filepath.Join(dir, "sub"), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "a.bin"), []byte(text), 0o666); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "sub", "b.bin"), []byte("second "+text), 0o666)
	}
}

func save(t *testing.T, f Folder, step int, text string) {
	t.Helper()
	if _, err := f.Save(step, two(text)); err != nil {
		t.Fatal(err)
	}
}

func TestKeep(t *testing.T) {
	for _, c := range []struct {
		name  string
		f     Folder
		steps []int
		want  []int
	}{
		{"all", Folder{}, []int{10, 20, 30, 40}, []int{10, 20, 30, 40}},
		{"newest three by number", Folder{Keep: 3}, []int{2, 10, 100, 9}, []int{9, 10, 100}},
		{"multiples stay", Folder{Keep: 1, KeepEvery: 20}, []int{10, 20, 30, 40, 50}, []int{20, 40, 50}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.f.Path = filepath.Join(t.TempDir(), "train_checkpoints")
			for _, n := range c.steps {
				save(t, c.f, n, "x")
			}
			got, err := c.f.Steps()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDamage damages the newest of two checkpoints in every way and expects the older one, with a report that names
// the damaged folder and what is wrong.
func TestDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"manifest missing", func(d string) error { return os.Remove(filepath.Join(d, manifestName)) }, "not complete"},
		{"manifest cut", func(d string) error { return os.Truncate(filepath.Join(d, manifestName), 20) }, "cannot be read"},
		{"manifest of other step", func(d string) error {
			return replace(filepath.Join(d, manifestName), `"step": 2`, `"step": 3`)
		}, "step 3"},
		{"manifest format", func(d string) error {
			return replace(filepath.Join(d, manifestName), `"format": 1`, `"format": 9`)
		}, "format 9"},
		{"manifest unknown key", func(d string) error {
			return replace(filepath.Join(d, manifestName), `"format"`, `"farmat"`)
		}, "cannot be read"},
		{"manifest names a file outside", func(d string) error {
			return replace(filepath.Join(d, manifestName), `"a.bin"`, `"../iter_1/a.bin"`)
		}, "outside"},
		{"file missing", func(d string) error { return os.Remove(filepath.Join(d, "a.bin")) }, "a.bin"},
		{"file cut", func(d string) error { return os.Truncate(filepath.Join(d, "sub", "b.bin"), 3) }, "sub/b.bin has 3 bytes"},
		{"file longer", func(d string) error { return replace(filepath.Join(d, "a.bin"), "new", "new!") }, "4 bytes instead of 3"},
		{"bit flipped", func(d string) error { return replace(filepath.Join(d, "a.bin"), "new", "nev") }, "SHA-256"},
		{"empty folder", func(d string) error { return errors.Join(os.RemoveAll(d), os.Mkdir(d, 0o777)) }, "not complete"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Folder{Path: t.TempDir()}
			save(t, f, 1, "old")
			save(t, f, 2, "new")
			if err := c.damage(f.dir(2)); err != nil {
				t.Fatal(err)
			}
			found, damaged, err := f.Newest()
			if err != nil {
				t.Fatal(err)
			}
			if found == nil || found.Step != 1 || len(damaged) != 1 {
				t.Fatalf("found %v, %d damaged; want step 1 and one damaged", found, len(damaged))
			}
			for _, want := range []string{c.want, "iter_2"} {
				if !strings.Contains(damaged[0].Error(), want) {
					t.Errorf("report %q does not say %q", damaged[0], want)
				}
			}
			// Saving the step again mends it.
			save(t, f, 2, "new")
			if found, damaged, err := f.Newest(); err != nil || found.Step != 2 || len(damaged) > 0 {
				t.Errorf("after saving again: %v, %v, %v", found, damaged, err)
			}
		})
	}
}

func replace(path, from, to string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed := strings.Replace(string(text), from, to, 1)
	if changed == string(text) {
		return errors.New("nothing to replace in " + path)
	}
	return os.WriteFile(path, []byte(changed), 0o666)
}

func TestNoneWhole(t *testing.T) {
	f := Folder{Path: t.TempDir()}
	if found, damaged, err := f.Newest(); found != nil || damaged != nil || err != nil {
		t.Errorf("empty folder: %v, %v, %v", found, damaged, err)
	}
	save(t, f, 7, "x")
	if err := os.Remove(filepath.Join(f.dir(7), "a.bin")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Newest(); err == nil || !strings.Contains(err.Error(), "iter_7") {
		t.Errorf("only a damaged one: error %v", err)
	}
}

// TestFailedSave leaves nothing behind, and what a killed process left is swept away by the next save.
func TestFailedSave(t *testing.T) {
	f := Folder{Path: t.TempDir()}
	save(t, f, 1, "x")
	boom := errors.New("boom")
	if _, err := f.Save(2, func(dir string) error { return errors.Join(two("y")(dir), boom) }); !errors.Is(err, boom) {
		t.Fatalf("error %v", err)
	}
	if _, err := f.Save(2, func(string) error { return nil }); err == nil {
		t.Fatal("an empty checkpoint was accepted")
	}
	for _, left := range []string{temporary + "iter_9", replaced + "iter_1"} {
		if err := os.MkdirAll(filepath.Join(f.Path, left, "sub"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	save(t, f, 3, "z")
	entries, err := os.ReadDir(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{"iter_1", "iter_3"}, names); diff != "" {
		t.Errorf("folder (-want +got):\n%s", diff)
	}
}

// TestSaveAgain does not touch a whole checkpoint.
func TestSaveAgain(t *testing.T) {
	f := Folder{Path: t.TempDir()}
	save(t, f, 4, "first")
	if _, err := f.Save(4, func(string) error { return errors.New("written again") }); err != nil {
		t.Error(err)
	}
}

func TestOpen(t *testing.T) {
	f := Folder{Path: t.TempDir()}
	save(t, f, 12, "x")
	if c, err := Open(f.dir(12) + "/"); err != nil || c.Step != 12 {
		t.Errorf("%v, %v", c, err)
	}
	for _, name := range []string{"iter_012", "iter_-1", "iter_", "best", "iter_1x"} {
		if _, err := Open(filepath.Join(f.Path, name)); err == nil || !strings.Contains(err.Error(), "iter_ and the number") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A model folder is checked against a manifest that this program wrote, and only against such a one.
func TestVerifyModel(t *testing.T) {
	f := Folder{Path: t.TempDir()}
	path, err := f.Save(3, func(dir string) error { return os.WriteFile(filepath.Join(dir, "w.bin"), []byte("weights"), 0o666) })
	if err != nil {
		t.Fatal(err)
	}
	weights := filepath.Join(path, "w.bin")
	moved := filepath.Join(t.TempDir(), "teacher")
	if err := os.CopyFS(moved, os.DirFS(path)); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "manifest.json"), []byte(`{"manifest_version": 2}`), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, weights, moved, other, t.TempDir(), filepath.Join(other, "nothing")} {
		if err := VerifyModel(p); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	for _, p := range []string{weights, filepath.Join(moved, "w.bin")} {
		if err := os.WriteFile(p, []byte("weightz"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{path, weights, moved} {
		if err := VerifyModel(p); err == nil || !strings.Contains(err.Error(), "w.bin was changed or damaged") {
			t.Errorf("%s: %v", p, err)
		}
	}
}
