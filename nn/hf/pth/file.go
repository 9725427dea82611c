package pth

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// ErrFormat is wrapped by every error that says a file is not a checkpoint this package reads.
var ErrFormat = errors.New("not a readable PyTorch checkpoint")

// Skipped is one entry of a checkpoint that is not a tensor.
type Skipped struct {
	Name string
	Why  string // for example "the number 0.001" or "an object of type argparse.Namespace"
}

// File is an opened checkpoint: its tensors under dotted names, nested dictionaries joined with dots
// ("teacher.backbone.cls_token"). It implements safetensors.Source.
type File struct {
	path    string
	src     io.ReaderAt
	closer  io.Closer
	infos   []safetensors.Info
	tensors map[string]*entry
	skipped []Skipped
	data    map[string]stretch
	budget  budget
}

// budget bounds the number of entries and the length of names that one pickle may expand to. Containers and strings
// are stored once and referred to with two bytes, so that without it a short file could fill the memory.
type budget struct{ entries, nameBytes int }

type entry struct {
	ref  *tensorRef
	info safetensors.Info
	// gathered holds a strided tensor in row-major order once somebody has read it.
	once     sync.Once
	gathered []byte
	err      error
}

// stretch is the position of a zip member's bytes in the file.
type stretch struct{ off, size int64 }

const (
	maxPickle  = 1 << 28
	maxNesting = 32
)

// Open opens a checkpoint file and reads its directory; no tensor data is read yet.
func Open(name string) (*File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	out, err := NewFile(name, f, st.Size())
	if err != nil {
		f.Close()
		return nil, err
	}
	out.closer = f
	return out, nil
}

// NewFile opens a checkpoint of the given size that is read through src; name is used in messages.
func NewFile(name string, src io.ReaderAt, size int64) (*File, error) {
	f := &File{path: name, src: src, tensors: map[string]*entry{}, data: map[string]stretch{}}
	if err := f.open(size); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrFormat, err)
	}
	return f, nil
}

// Close releases the file.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

// Path is the name the file was opened under.
func (f *File) Path() string { return f.path }

// Tensors lists the tensors in file order. The caller must not change it.
func (f *File) Tensors() []safetensors.Info { return f.infos }

// Skipped lists what is in the checkpoint besides tensors.
func (f *File) Skipped() []Skipped { return f.skipped }

func (f *File) open(size int64) error {
	head := make([]byte, min(size, safetensors.RecogniseBytes))
	if n, err := f.src.ReadAt(head, 0); n < len(head) {
		return err
	}
	if !bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		return notZip(head)
	}
	z, err := zip.NewReader(f.src, size)
	if err != nil {
		if strings.HasSuffix(f.path, ".distcp") {
			return errors.New(Distributed)
		}
		return fmt.Errorf("%w: the archive is truncated or damaged; download or save it again", err)
	}
	var pickle []byte
	top := ""
	for _, m := range z.File {
		if path.Base(m.Name) == "data.pkl" && strings.Count(m.Name, "/") == 1 {
			if pickle != nil {
				return errors.New("two data.pkl in the archive")
			}
			top = path.Dir(m.Name)
			if pickle, err = f.member(m, size, maxPickle); err != nil {
				return err
			}
		}
	}
	if pickle == nil {
		return noPickle(z)
	}
	for _, m := range z.File {
		if strings.HasPrefix(m.Name, top+"/code/") {
			return errors.New("a TorchScript program (torch.jit.save); save the model's state dict from Python: torch.save(model.state_dict(), FILE)")
		}
		key, ok := strings.CutPrefix(m.Name, top+"/data/")
		if m.Name == top+"/byteorder" {
			order, err := f.member(m, size, 64)
			if err != nil {
				return err
			}
			if string(order) != "little" {
				return fmt.Errorf("byte order %q, only little is supported", order)
			}
		}
		if !ok || key == "" {
			continue
		}
		if _, dup := f.data[key]; dup {
			return fmt.Errorf("storage %q occurs twice in the archive", key)
		}
		if f.data[key], err = locate(m, size); err != nil {
			return err
		}
	}
	root, err := unpickle(pickle, f.persistent)
	if err != nil {
		return err
	}
	// An entry of a file that shares nothing takes at least two bytes, a name in dotted form some dozens.
	f.budget = budget{entries: 1<<12 + len(pickle), nameBytes: 1<<16 + 64*len(pickle)}
	return f.collect("", root, 0)
}

// locate finds a stored member. PyTorch never compresses members, so a compressed one is refused rather than
// inflated to whatever size it claims.
func locate(m *zip.File, size int64) (stretch, error) {
	if m.Method != zip.Store || m.CompressedSize64 != m.UncompressedSize64 {
		return stretch{}, fmt.Errorf("member %q is compressed; PyTorch stores members as they are", m.Name)
	}
	off, err := m.DataOffset()
	if err != nil {
		return stretch{}, fmt.Errorf("member %q: %w", m.Name, err)
	}
	if m.UncompressedSize64 > uint64(size) || off > size-int64(m.UncompressedSize64) {
		return stretch{}, fmt.Errorf("member %q reaches past the end of the file", m.Name)
	}
	return stretch{off, int64(m.UncompressedSize64)}, nil
}

func (f *File) member(m *zip.File, size, limit int64) ([]byte, error) {
	s, err := locate(m, size)
	if err != nil {
		return nil, err
	}
	if s.size > limit {
		return nil, fmt.Errorf("member %q has %d bytes, more than the limit of %d", m.Name, s.size, limit)
	}
	b := make([]byte, s.size)
	if n, err := f.src.ReadAt(b, s.off); n < len(b) {
		return nil, fmt.Errorf("member %q: %w", m.Name, err)
	}
	return b, nil
}

// persistent resolves ("storage", <kind>Storage, key, device, elements).
func (f *File) persistent(id any) (any, error) {
	items, ok := sequence(id)
	if !ok || len(items) < 5 || items[0] != "storage" {
		return nil, errors.New("a persistent id that is not a storage")
	}
	g, ok := items[1].(global)
	if !ok {
		return nil, fmt.Errorf("a storage whose type is %s", describe(items[1]))
	}
	kind, ok := storageKinds[g.name]
	if !ok || g.module != "torch" {
		return nil, fmt.Errorf("a storage of type %s, which is not supported", g)
	}
	key, ok := items[2].(string)
	if !ok {
		return nil, fmt.Errorf("a storage whose key is %s", describe(items[2]))
	}
	where, ok := f.data[key]
	if !ok {
		return nil, fmt.Errorf("storage %q is not in the archive", key)
	}
	n, ok := items[4].(int64)
	if !ok || n < 0 || n > where.size/int64(kind.Bits()/8) {
		return nil, fmt.Errorf("storage %q claims %s of %s, the archive holds %d bytes", key, describe(items[4]), kind, where.size)
	}
	return &storage{key: key, kind: kind, n: n}, nil
}

// collect walks the nested dictionaries, within the budget.
func (f *File) collect(name string, v any, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("%.80q is nested more than %d deep", name, maxNesting)
	}
	if f.budget.entries--; f.budget.entries < 0 {
		return errors.New("the same containers are referred to so often that there are more entries than the pickle has bytes")
	}
	if f.budget.nameBytes -= len(name); f.budget.nameBytes < 0 {
		return fmt.Errorf("the names of the entries, such as %.40q, are too long together for the size of the pickle", name)
	}
	join := func(key string) string {
		if name == "" {
			return key
		}
		return name + "." + key
	}
	switch v := v.(type) {
	case *tensorRef:
		if name == "" {
			name = "tensor"
		}
		if f.tensors[name] != nil {
			return fmt.Errorf("two tensors are called %q", name)
		}
		info := safetensors.Info{Name: name, DType: v.storage.kind, Shape: tensor.Shape{}}
		n := int64(1)
		for _, d := range v.shape {
			info.Shape = append(info.Shape, int(d))
			n *= d
		}
		info.End = n * int64(v.storage.kind.Bits()/8)
		f.tensors[name] = &entry{ref: v, info: info}
		f.infos = append(f.infos, info)
	case *dict:
		for i, k := range v.keys {
			key, ok := k.(string)
			if n, isInt := k.(int64); isInt {
				key, ok = strconv.FormatInt(n, 10), true
			}
			if !ok {
				f.skipped = append(f.skipped, Skipped{join("?"), "its key is " + describe(k)})
				continue
			}
			if err := f.collect(join(key), v.values[i], depth+1); err != nil {
				return err
			}
		}
	case *list:
		return f.collectItems(join, v.items, depth)
	case *tuple:
		return f.collectItems(join, v.items, depth)
	default:
		f.skipped = append(f.skipped, Skipped{name, describe(v)})
	}
	return nil
}

func (f *File) collectItems(join func(string) string, items []any, depth int) error {
	for i, it := range items {
		if err := f.collect(join(strconv.Itoa(i)), it, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// Raw reads stored bytes of one tensor in row-major order, from byte off of the tensor on.
func (f *File) Raw(name string, off int64, dst []byte) error {
	e := f.tensors[name]
	if e == nil {
		return fmt.Errorf("%s: no tensor %q", f.path, name)
	}
	if off < 0 || off+int64(len(dst)) > e.info.NumBytes() {
		return fmt.Errorf("%s: tensor %q: bytes %d to %d of %d", f.path, name, off, off+int64(len(dst)), e.info.NumBytes())
	}
	if len(dst) == 0 {
		return nil
	}
	if e.ref.contiguous() {
		elem := int64(e.info.DType.Bits() / 8)
		return f.readStorage(e.ref.storage, e.ref.offset*elem+off, dst, name)
	}
	e.once.Do(func() { e.gathered, e.err = f.gather(e) })
	if e.err != nil {
		return e.err
	}
	copy(dst, e.gathered[off:])
	return nil
}

func (f *File) readStorage(s *storage, off int64, dst []byte, name string) error {
	if n, err := f.src.ReadAt(dst, f.data[s.key].off+off); n < len(dst) {
		return fmt.Errorf("%s: tensor %q: %w", f.path, name, err)
	}
	return nil
}

func (t *tensorRef) contiguous() bool {
	want := int64(1)
	for i := len(t.shape) - 1; i >= 0; i-- {
		if t.shape[i] != 1 && t.stride[i] != want {
			return false
		}
		want *= t.shape[i]
	}
	return true
}

// gather puts a strided tensor that is not empty in row-major order.
func (f *File) gather(e *entry) ([]byte, error) {
	t, elem := e.ref, int64(e.info.DType.Bits()/8)
	span := int64(1)
	for i, d := range t.shape {
		span += (d - 1) * t.stride[i]
	}
	src := make([]byte, span*elem)
	if err := f.readStorage(t.storage, t.offset*elem, src, e.info.Name); err != nil {
		return nil, err
	}
	out := make([]byte, 0, e.info.NumBytes())
	index := make([]int64, len(t.shape))
	at := int64(0)
	for {
		out = append(out, src[at*elem:(at+1)*elem]...)
		i := len(index) - 1
		for ; i >= 0; i-- {
			index[i]++
			at += t.stride[i]
			if index[i] < t.shape[i] {
				break
			}
			at -= index[i] * t.stride[i]
			index[i] = 0
		}
		if i < 0 {
			return out, nil
		}
	}
}
