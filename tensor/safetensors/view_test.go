//go:build unix

package safetensors

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/tensor"
)

// stored writes raw bytes as a file and opens it.
func stored(t *testing.T, content []byte) (*File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, path
}

// header is padded so that the data begins at a multiple of 8 bytes plus shift.
func shifted(shift int) []byte {
	h := `{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"h":{"dtype":"F16","shape":[2],"data_offsets":[24,28]},` +
		`"b":{"dtype":"BF16","shape":[3],"data_offsets":[28,34]},"i":{"dtype":"I16","shape":[1],"data_offsets":[34,36]},` +
		`"u":{"dtype":"U8","shape":[3],"data_offsets":[36,39]},"e":{"dtype":"F32","shape":[0,5],"data_offsets":[39,39]}}`
	h += strings.Repeat(" ", (8-len(h)%8)%8+shift)
	data := make([]byte, 39)
	for i := range data {
		data[i] = byte(11*i + 3)
	}
	return file(h, data)
}

func TestViewIsWhatReadGives(t *testing.T) {
	for shift, want := range map[int]string{
		0: "a b u",
		2: "b u",
		3: "u",
	} {
		f, _ := stored(t, shifted(shift))
		var shown []string
		for _, i := range f.Tensors() {
			v := f.View(i.Name)
			if v == nil || v.Len() == 0 {
				continue
			}
			shown = append(shown, i.Name)
			r, err := ReadTensor(f, i.Name)
			if err != nil {
				t.Fatal(err)
			}
			if v.DType() != r.DType() || !v.Shape().Equal(r.Shape()) || !bytes.Equal(v.Bytes(), r.Bytes()) {
				t.Errorf("shift %d: %s is shown as %s %x and read as %s %x", shift, i, v, v.Bytes(), r, r.Bytes())
			}
		}
		if got := strings.Join(shown, " "); got != want {
			t.Errorf("shift %d: shown %q, want %q", shift, got, want)
		}
		if f.View("zz") != nil {
			t.Error("a tensor that is not there is shown")
		}
	}
	f, err := open(shifted(0))
	if err != nil {
		t.Fatal(err)
	}
	if f.View("a") != nil {
		t.Error("a source that is no file is shown")
	}
}

// A file that has lost its end since it was opened is not mapped, and the error of reading it names file and tensor.
func TestViewOfShorterFile(t *testing.T) {
	f, path := stored(t, shifted(0))
	if err := os.Truncate(path, int64(f.data)+10); err != nil {
		t.Fatal(err)
	}
	if f.View("a") != nil {
		t.Error("it is mapped")
	}
	err := Read(f, map[string]*tensor.Tensor{"a": tensor.Zeros(tensor.F32, 2, 3)})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), `tensor "a"`) {
		t.Errorf("error %v", err)
	}
	if err := f.Unchanged(); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "written to") {
		t.Errorf("Unchanged: %v", err)
	}
}

// Our own writers put new files in the place of old ones, so what is mapped stays.
func TestViewSurvivesOurWriter(t *testing.T) {
	dir := t.TempDir()
	write := func(x float32) {
		t.Helper()
		a := tensor.FromF32([]float32{x, x + 1}, 2)
		if err := WriteSet(dir, nil, []Tensor{FromTensor("a", a)}, 0); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	s, err := OpenSet(dir)
	if err != nil {
		t.Fatal(err)
	}
	v := s.View("a")
	if v == nil {
		t.Fatal("not shown")
	}
	write(5)
	if d := cmp.Diff([]float32{1, 2}, v.F32()); d != "" {
		t.Errorf("(-before +after):\n%s", d)
	}
	if err := s.Unchanged(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if r := fmt.Sprint(recover()); !strings.Contains(r, "used after") {
			t.Errorf("after Close: %s", r)
		}
	}()
	v.F32()
}

func TestNoViewAfterClose(t *testing.T) {
	f, _ := stored(t, shifted(0))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f.View("a") != nil {
		t.Error("shown")
	}
}
