package safetensors

import (
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// Viewer is a Source that can show tensors where they lie, without reading them.
type Viewer interface {
	Source
	// View is one tensor as it is stored, or nil where there is none to show.
	View(name string) *tensor.Tensor
}

// View is one tensor as it lies in the mapped file: its bytes are read when they are looked at, and are the system's
// copy of the file; see tensor.Mapping. It is nil, and the tensor is to be read, where the elements have no in-memory
// type or do not lie on multiples of their size, and where the system cannot map the file. It lives until Close.
func (f *File) View(name string) *tensor.Tensor {
	t, ok := f.Lookup(name)
	if !ok || f.disk == nil {
		return nil
	}
	native, ok := t.DType.Native()
	if !ok || t.DType != Of(native) {
		return nil
	}
	f.mapOnce.Do(func() {
		// A file that has become another size since is left to Read, whose error names the tensor.
		if m, err := tensor.MapFile(f.disk, f.opened.Size()); err == nil {
			f.mapping = m
		}
	})
	if f.mapping == nil {
		return nil
	}
	return f.mapping.Tensor(f.data+t.Begin, native, t.Shape...)
}

// Unchanged is an error when the file is not as long or as old as when it was opened, so that what was read of it
// through View is worth nothing. It does not look at whether another file has its name now: what is open stays.
func (f *File) Unchanged() error {
	if f.disk == nil {
		return nil
	}
	now, err := f.disk.Stat()
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	if now.Size() != f.opened.Size() || !now.ModTime().Equal(f.opened.ModTime()) {
		return fmt.Errorf("%s: was written to while it was in use (%d bytes of %s when it was opened, %d of %s now); start again",
			f.path, f.opened.Size(), f.opened.ModTime().Format(stamp), now.Size(), now.ModTime().Format(stamp))
	}
	return nil
}

const stamp = "2006-01-02 15:04:05"
