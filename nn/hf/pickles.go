package hf

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/dino-mx/dmx/nn/hf/pth"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// pickleIndex is the index of a model whose PyTorch file is split into shards.
const pickleIndex = "pytorch_model.bin.index.json"

// pickleSet holds the tensors of the shards of a pickleIndex, as one source.
type pickleSet struct {
	files  []*pth.File
	infos  []safetensors.Info
	byName map[string]*pth.File
}

// openPickleSet opens the shards that an index names and checks that they hold the tensors it assigns to them.
func openPickleSet(index string) (_ *pickleSet, err error) {
	raw, err := readJSON(index)
	if err != nil {
		return nil, err
	}
	weightMap, err := safetensors.ParseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", index, err)
	}
	s := &pickleSet{byName: map[string]*pth.File{}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(weightMap))) {
		path := filepath.Join(filepath.Dir(index), shard)
		f, err := pth.Open(path)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
		for _, t := range f.Tensors() {
			if weightMap[t.Name] != shard {
				return nil, fmt.Errorf("%s: the index does not say that tensor %q is in this shard", path, t.Name)
			}
			s.byName[t.Name] = f
			s.infos = append(s.infos, t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(weightMap)) {
		if s.byName[name] == nil {
			return nil, fmt.Errorf("%s: tensor %q is missing from %s, where the index puts it", index, name, weightMap[name])
		}
	}
	return s, nil
}

// Close closes the shards.
func (s *pickleSet) Close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Tensors lists the tensors, shard by shard.
func (s *pickleSet) Tensors() []safetensors.Info { return s.infos }

// Raw reads len(dst) stored bytes of one tensor, from byte off of the tensor on.
func (s *pickleSet) Raw(name string, off int64, dst []byte) error {
	f := s.byName[name]
	if f == nil {
		return fmt.Errorf("no tensor %q", name)
	}
	return f.Raw(name, off, dst)
}
