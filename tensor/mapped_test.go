//go:build unix

package tensor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mapBytes writes a file and maps it.
func mapBytes(t *testing.T, content []byte) (*Mapping, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weights")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // the mapping outlives it
	m, err := MapFile(f, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, path
}

func count(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func TestMappingIsTheFile(t *testing.T) {
	content := count(3*4096 + 20)
	m, path := mapBytes(t, content)
	x := m.Tensor(4, F32, 2, 3)
	if d := cmp.Diff(content[4:28], x.Bytes()); d != "" {
		t.Errorf("a view (-file +view):\n%s", d)
	}
	if d := cmp.Diff(content[8192:], m.Tensor(8192, U8, 4116).Bytes()); d != "" {
		t.Errorf("the end (-file +view):\n%s", d)
	}
	for off, dtype := range map[int64]DType{2: F32, 3: BF16, 12: F64} {
		if m.Tensor(off, dtype, 1) != nil {
			t.Errorf("%s at byte %d is shown", dtype, off)
		}
	}

	x.F32()[0] = 42
	if x.F32()[0] != 42 {
		t.Error("an element cannot be written")
	}
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(content, now); d != "" {
		t.Errorf("writing to a view changed the file:\n%s", d)
	}
}

// A file that takes the place of the mapped one leaves the mapping alone.
func TestMappingOutlivesReplacement(t *testing.T) {
	content := count(8192)
	m, path := mapBytes(t, content)
	if err := os.WriteFile(path+".new", make([]byte, 10), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(content, m.Tensor(0, U8, 8192).Bytes()); d != "" {
		t.Errorf("(-old +mapped):\n%s", d)
	}
}

func TestMapFileRejects(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights")
	if err := os.WriteFile(path, count(10), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size, want := range map[int64]string{9: "has 10 bytes now, and had 9", 11: "had 11", 1 << 62: "had 4611686018427387904"} {
		if _, err := MapFile(f, size); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("size %d: %v, want %q", size, err, want)
		}
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := MapFile(f, 0); err == nil || !strings.Contains(err.Error(), "cannot be mapped") {
		t.Errorf("an empty file: %v", err)
	}
}

func TestClosedMappingIsNotRead(t *testing.T) {
	m, _ := mapBytes(t, count(4096))
	x := m.Tensor(0, F32, 4)
	for range 2 {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if r := recover(); r == nil || !strings.Contains(r.(string), "f32[4] is used after") {
			t.Errorf("panic %v", r)
		}
	}()
	x.F32()
}

func TestGuardMapped(t *testing.T) {
	m, path := mapBytes(t, count(4*4096))
	x := m.Tensor(0, F32, 4096)
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	read := func(fn func() float32) (v float32, err error) {
		defer GuardMapped(&err)()
		return fn(), nil
	}
	var fault *MappedFault
	if _, err := read(func() float32 { return x.F32()[4000] }); !errors.As(err, &fault) || fault.Path != path {
		t.Errorf("a page that is gone: %v", err)
	}
	if v, err := read(func() float32 { return x.F32()[0] }); err != nil || v != x.F32()[0] {
		t.Errorf("a page that is there: %g, %v", v, err)
	}
	defer func() {
		if r := recover(); r == nil {
			t.Error("another panic was swallowed")
		}
	}()
	_, _ = read(func() float32 { return x.F32()[1<<20] })
}
