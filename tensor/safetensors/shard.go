package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var staleName = regexp.MustCompile(`^model(-\d{5}-of-\d{5})?\.safetensors$`)

// WriteSet writes tensors to a folder under the names of Hugging Face models: one model.safetensors, or shards of
// at most maxBytes of tensor data each (0 for no limit; a larger tensor has a shard of its own) with their index.
// Files of an earlier set that are not part of the new one are removed after the new files are in place.
func WriteSet(dir string, metadata map[string]string, tensors []Tensor, maxBytes int64) error {
	shards, total, err := split(tensors, maxBytes)
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	weightMap := map[string]string{}
	for i, shard := range shards {
		name := ModelFile
		if len(shards) > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		}
		if err := WriteFile(filepath.Join(dir, name), metadata, shard); err != nil {
			return err
		}
		keep[name] = true
		for _, t := range shard {
			weightMap[t.Name] = name
		}
	}
	if len(shards) > 1 {
		if err := writeIndex(filepath.Join(dir, IndexFile), total, weightMap); err != nil {
			return err
		}
		keep[IndexFile] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n := e.Name(); !keep[n] && (n == IndexFile || staleName.MatchString(n)) {
			if err := os.Remove(filepath.Join(dir, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

func split(tensors []Tensor, maxBytes int64) (shards [][]Tensor, total int64, err error) {
	shards = [][]Tensor{nil}
	current := int64(0)
	for _, t := range tensors {
		size, err := byteSize(t.DType, t.Shape)
		if err != nil {
			return nil, 0, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		last := len(shards) - 1
		if maxBytes > 0 && current+size > maxBytes && len(shards[last]) > 0 {
			shards, current = append(shards, nil), 0
			last++
		}
		shards[last] = append(shards[last], t)
		current += size
		total += size
	}
	return shards, total, nil
}

func writeIndex(path string, total int64, weightMap map[string]string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(map[string]any{"metadata": map[string]any{"total_size": total}, "weight_map": weightMap})
	if err != nil {
		return err
	}
	return replaceFile(path, []byte(strings.TrimRight(b.String(), "\n")+"\n"))
}
