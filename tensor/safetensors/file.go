package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/dino-mx/dmx/tensor"
)

// File is one opened safetensors file whose header has been checked completely. Its methods may be called from
// several goroutines.
type File struct {
	path   string
	src    io.ReaderAt
	data   int64 // where the data begins
	infos  []Info
	byName map[string]int
	meta   map[string]string

	disk    *os.File    // nil for a source that is not a file of its own
	opened  os.FileInfo // of disk
	mapOnce sync.Once
	mapping *tensor.Mapping // nil before the first View, and where the system cannot map the file
}

// Open opens a file and checks its header. The error names the file and what is wrong with it.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	out, err := NewFile(path, f, st.Size())
	if err != nil {
		f.Close()
		return nil, err
	}
	out.disk, out.opened = f, st
	return out, nil
}

// NewFile checks the header of a file of the given size that is read through src. name is used in messages.
func NewFile(name string, src io.ReaderAt, size int64) (*File, error) {
	fail := func(err error) (*File, error) {
		head := make([]byte, min(size, RecogniseBytes))
		if n, _ := src.ReadAt(head, 0); n == len(head) && Recognise(head) != "" {
			err = errors.New(Recognise(head))
		}
		return nil, fmt.Errorf("%s: %w: %w", name, ErrFormat, err)
	}
	if size < 8 {
		return fail(fmt.Errorf("%d bytes are too few for a header", size))
	}
	var word [8]byte
	if _, err := src.ReadAt(word[:], 0); err != nil {
		return nil, fmt.Errorf("%s: read the header length: %w", name, err)
	}
	n := binary.LittleEndian.Uint64(word[:])
	if n > MaxHeader {
		return fail(fmt.Errorf("a header of %d bytes is larger than the limit of %d", n, MaxHeader))
	}
	if int64(n) > size-8 {
		return fail(fmt.Errorf("a header of %d bytes does not fit a file of %d", n, size))
	}
	header := make([]byte, n)
	if _, err := src.ReadAt(header, 8); err != nil && !(err == io.EOF && int64(n) == size-8) {
		return nil, fmt.Errorf("%s: read the header: %w", name, err)
	}
	infos, meta, err := parseHeader(header, size-8-int64(n))
	if err != nil {
		return fail(err)
	}
	f := &File{path: name, src: src, data: 8 + int64(n), infos: infos, meta: meta, byName: make(map[string]int, len(infos))}
	for i, t := range infos {
		f.byName[t.Name] = i
	}
	return f, nil
}

// Close closes the file and unmaps it. Using a tensor that View returned panics afterwards.
func (f *File) Close() error {
	if f.disk == nil {
		return nil
	}
	f.mapOnce.Do(func() {}) // too late to map
	var err error
	if f.mapping != nil {
		err = f.mapping.Close()
	}
	return errors.Join(err, f.disk.Close())
}

// Path is the name the file was opened under.
func (f *File) Path() string { return f.path }

// Metadata is the file's __metadata__; nil if it has none. The caller must not change it.
func (f *File) Metadata() map[string]string { return f.meta }

// Tensors lists what the file holds, in the order of the data. The caller must not change it.
func (f *File) Tensors() []Info { return f.infos }

// Lookup finds one tensor by name.
func (f *File) Lookup(name string) (Info, bool) {
	i, ok := f.byName[name]
	if !ok {
		return Info{}, false
	}
	return f.infos[i], true
}

// Raw reads len(dst) stored bytes of one tensor, from byte off of the tensor on.
func (f *File) Raw(name string, off int64, dst []byte) error {
	t, ok := f.Lookup(name)
	if !ok {
		return fmt.Errorf("%s: no tensor %q", f.path, name)
	}
	if off < 0 || off+int64(len(dst)) > t.NumBytes() {
		return fmt.Errorf("%s: tensor %q: bytes %d to %d of %d", f.path, name, off, off+int64(len(dst)), t.NumBytes())
	}
	return f.read(t, off, dst)
}

func (f *File) read(t Info, off int64, dst []byte) error {
	n, err := f.src.ReadAt(dst, f.data+t.Begin+off)
	if n == len(dst) {
		return nil
	}
	return fmt.Errorf("%s: tensor %q: read %d of %d bytes: %w", f.path, t.Name, n, len(dst), err)
}
