package tensor

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"unsafe"
)

// Mapping is a file mapped into host memory. A page is read when it is first touched and belongs to the page cache,
// which all processes share. Writing to a page makes a private copy of it: neither the file nor another process sees
// the change.
//
// The file must not change while it is mapped. Replacing it by a rename is safe, because the mapping keeps the old
// file. A write into the file shows in the mapping, and truncating the file removes pages: see GuardMapped.
type Mapping struct {
	buf  *Buffer
	path string
	size int64 // of the file when it was mapped
}

// mapped lists the current mappings, so that a page fault in one of them can be told from a bug of the program.
var mapped struct {
	sync.Mutex
	all []*Mapping
}

// MapFile maps the whole of a file that has size bytes. The error wraps errors.ErrUnsupported where the system maps
// no files.
func MapFile(f *os.File, size int64) (*Mapping, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() != size {
		return nil, fmt.Errorf("%s: has %d bytes now, and had %d when it was opened", f.Name(), st.Size(), size)
	}
	if size <= 0 || size != int64(int(size)) {
		return nil, fmt.Errorf("%s: a file of %d bytes cannot be mapped", f.Name(), size)
	}
	host, err := mapFile(f, int(size))
	if err != nil {
		return nil, fmt.Errorf("%s: map %d bytes: %w", f.Name(), size, err)
	}
	m := &Mapping{buf: &Buffer{Host: host, Size: len(host)}, path: f.Name(), size: size}
	mapped.Lock()
	defer mapped.Unlock()
	mapped.all = append(mapped.all, m)
	return m, nil
}

// Tensor returns a view of the file from byte off on, or nil where the elements would not be aligned to their size.
func (m *Mapping) Tensor(off int64, dtype DType, shape ...int) *Tensor {
	if off%int64(dtype.Size()) != 0 {
		return nil
	}
	return Over(m.buf, int(off), dtype, shape...)
}

// Close unmaps the file. Using one of its tensors afterwards panics, and slices of their elements must not be used.
func (m *Mapping) Close() error {
	mapped.Lock()
	defer mapped.Unlock()
	host := m.buf.Host
	if host == nil {
		return nil
	}
	m.buf.Host = nil
	for i, other := range mapped.all {
		if other == m {
			mapped.all = append(mapped.all[:i], mapped.all[i+1:]...)
			break
		}
	}
	return unmapFile(host)
}

// MappedFault is the error of a read from a mapped file whose page no longer exists.
type MappedFault struct{ Path string }

func (e *MappedFault) Error() string {
	return e.Path + ": cannot be read any more: it was truncated, or its disk failed, while it was in use; restore the whole file and start again"
}

// GuardMapped turns a read of a mapped file whose page no longer exists into a *MappedFault in *err. Without it the
// system ends the program. It is used as
//
//	defer tensor.GuardMapped(&err)()
//
// and covers the calling goroutine, and workers that set debug.SetPanicOnFault and pass panics on to it, such as the
// threads of the CPU backend.
func GuardMapped(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		r := recover()
		if r == nil {
			return
		}
		if m := faulted(r); m != nil {
			*err = &MappedFault{m.path}
			return
		}
		panic(r)
	}
}

// faulted returns the mapping that the faulting address of a panic lies in, or nil.
func faulted(r any) *Mapping {
	e, ok := r.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok {
		return nil
	}
	mapped.Lock()
	defer mapped.Unlock()
	for _, m := range mapped.all {
		begin := uintptr(unsafe.Pointer(unsafe.SliceData(m.buf.Host)))
		if e.Addr() >= begin && e.Addr()-begin < uintptr(m.buf.Size) {
			return m
		}
	}
	return nil
}
