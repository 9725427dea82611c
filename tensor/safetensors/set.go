package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/tensor"
)

// The file names of Hugging Face model folders.
const (
	ModelFile = "model.safetensors"
	IndexFile = "model.safetensors.index.json"
)

// Set holds the tensors of one model: those of a single file, or of the shards of an index.
type Set struct {
	files  []*File
	infos  []Info
	byName map[string]*File
	meta   map[string]string
}

// OpenSet opens a .safetensors file, an index (its name ends in .json), or a folder that holds either under the
// names of Hugging Face models.
func OpenSet(path string) (*Set, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		whole, index := filepath.Join(path, ModelFile), filepath.Join(path, IndexFile)
		if _, err := os.Stat(whole); err == nil {
			return openFiles([]string{whole}, nil)
		}
		if _, err := os.Stat(index); err != nil {
			return nil, fmt.Errorf("%s: holds neither %s nor %s", path, ModelFile, IndexFile)
		}
		path = index
	}
	if !strings.HasSuffix(path, ".json") {
		return openFiles([]string{path}, nil)
	}
	raw, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	weightMap, err := ParseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var shards []string
	for _, shard := range weightMap {
		if p := filepath.Join(filepath.Dir(path), shard); !slices.Contains(shards, p) {
			shards = append(shards, p)
		}
	}
	slices.Sort(shards)
	return openFiles(shards, weightMap)
}

// readIndex reads no more than ParseIndex accepts.
func readIndex(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxHeader+1))
}

func openFiles(paths []string, weightMap map[string]string) (_ *Set, err error) {
	s := &Set{byName: map[string]*File{}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for _, p := range paths {
		f, err := Open(p)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
		if s.meta == nil {
			s.meta = f.Metadata()
		}
		for _, t := range f.Tensors() {
			if other := s.byName[t.Name]; other != nil {
				return nil, fmt.Errorf("%s: tensor %q is in %s too", p, t.Name, other.Path())
			}
			if weightMap != nil && weightMap[t.Name] != filepath.Base(p) {
				return nil, fmt.Errorf("%s: the index does not say that tensor %q is in this shard", p, t.Name)
			}
			s.byName[t.Name] = f
			s.infos = append(s.infos, t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(weightMap)) {
		if s.byName[name] == nil {
			return nil, fmt.Errorf("%s: tensor %q is missing from this shard, where the index puts it", weightMap[name], name)
		}
	}
	return s, nil
}

// Close closes the files.
func (s *Set) Close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Files lists the opened files.
func (s *Set) Files() []*File { return s.files }

// Metadata is the metadata of the first file.
func (s *Set) Metadata() map[string]string { return s.meta }

// Tensors lists what the files hold, file by file in the order of the data.
func (s *Set) Tensors() []Info { return s.infos }

// Raw reads stored bytes of one tensor, from byte off of the tensor on.
func (s *Set) Raw(name string, off int64, dst []byte) error {
	f := s.byName[name]
	if f == nil {
		return fmt.Errorf("no tensor %q", name)
	}
	return f.Raw(name, off, dst)
}

// View returns one tensor as a view of its file; see File.View.
func (s *Set) View(name string) *tensor.Tensor {
	f := s.byName[name]
	if f == nil {
		return nil
	}
	return f.View(name)
}

// Unchanged returns an error when a file has changed since it was opened; see File.Unchanged.
func (s *Set) Unchanged() error {
	for _, f := range s.files {
		if err := f.Unchanged(); err != nil {
			return err
		}
	}
	return nil
}

// ParseIndex reads the weight map (tensor to shard file) of an index. Shards are plain file names: a path, or a
// name that would leave the folder, is refused.
func ParseIndex(raw []byte) (map[string]string, error) {
	if len(raw) > MaxHeader {
		return nil, fmt.Errorf("%w: an index of %d bytes is larger than the limit of %d", ErrFormat, len(raw), MaxHeader)
	}
	m, err := parseIndexJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: index: %w", ErrFormat, err)
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		shard := m[name]
		if shard == "" || shard == "." || strings.Contains(shard, "..") || strings.ContainsAny(shard, `/\:`) || !filepath.IsLocal(shard) {
			return nil, fmt.Errorf("%w: index: tensor %q lies in %q, which is not a plain file name", ErrFormat, name, shard)
		}
	}
	return m, nil
}

func parseIndexJSON(raw []byte) (m map[string]string, err error) {
	p := headerParser{dec: json.NewDecoder(bytes.NewReader(raw))}
	if err := p.delim('{', "the index"); err != nil {
		return nil, err
	}
	for p.dec.More() {
		key, err := p.str("a member name")
		if err != nil {
			return nil, err
		}
		if key != "weight_map" {
			var skip json.RawMessage
			if err := p.dec.Decode(&skip); err != nil {
				return nil, fmt.Errorf("%q: %w", key, err)
			}
			continue
		}
		if m != nil {
			return nil, errors.New("weight_map occurs twice")
		}
		if m, err = p.metadata(); err != nil {
			return nil, fmt.Errorf("weight_map: %w", err)
		}
	}
	if m == nil {
		return nil, errors.New("weight_map is missing")
	}
	return m, p.delim('}', "the index")
}
