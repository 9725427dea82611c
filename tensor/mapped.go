package tensor

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"unsafe"
)

// Mapping is a file that lies in host memory as it is stored. Nothing is read until somebody looks, and what is read
// is the system's own copy of the file, which all programs share. A page that is written to becomes a private copy:
// the file never changes, and neither does what others see.
//
// The file must stay as it is while it is mapped. A writer that puts a new file in the old one's place (a rename)
// leaves the mapping whole; one that writes into the file is seen, and one that cuts it off takes pages away: see
// GuardMapped.
type Mapping struct {
	buf  *Buffer
	path string
	size int64 // of the file when it was mapped
}

// mapped lists what is mapped now, so that a fault can be told from a mistake of the program.
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

// Tensor is a view of the file from byte off on, or nil where the elements would not lie on multiples of their size.
func (m *Mapping) Tensor(off int64, dtype DType, shape ...int) *Tensor {
	if off%int64(dtype.Size()) != 0 {
		return nil
	}
	return Over(m.buf, int(off), dtype, shape...)
}

// Close takes the file out of memory. Whoever uses one of its tensors afterwards panics; slices that were taken from
// them must not be used either.
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

// MappedFault says that part of a mapped file was gone when it was needed.
type MappedFault struct{ Path string }

func (e *MappedFault) Error() string {
	return e.Path + ": cannot be read any more: it was cut off, or its disk failed, while it was in use; put the whole file back and start again"
}

// GuardMapped turns a read of a mapped file whose page is gone into a *MappedFault in *err. Without it the system
// ends the program on the spot. It is used as
//
//	defer tensor.GuardMapped(&err)()
//
// and covers the goroutine that calls it and those workers that pass panics on and have debug.SetPanicOnFault set, such
// as the threads of the CPU backend.
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

// faulted is the mapping whose memory a panic is about, or nil.
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
