package safetensors

import (
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// Viewer is a Source that can return tensors as views of mapped memory, without reading them.
type Viewer interface {
	Source
	// View returns one tensor as it is stored, or nil where it has to be read.
	View(name string) *tensor.Tensor
}

// View returns one tensor as a view of the mapped file, which is valid until Close; see tensor.Mapping. It returns nil
// where the elements have no in-memory type or are not aligned to their size, and where the system cannot map the
// file. The tensor must be read then.
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

// Unchanged returns an error when the size or the modification time of the file differs from when it was opened: what
// was read through View may then be a mixture. A new file under the same name does not count, because the open one
// stays.
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
