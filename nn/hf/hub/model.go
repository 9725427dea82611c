package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/tensor/safetensors"
)

// Resolve returns a local path as it is and a repository id as the folder of its downloaded files.
func (c *Client) Resolve(ctx context.Context, name string) (string, error) {
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	r, err := ParseRef(name)
	if err != nil {
		return "", err
	}
	return c.Model(ctx, r)
}

// Model downloads the files of a model (config, image processor, and the weights in the order transformers looks
// for them: safetensors, its shards, PyTorch) or of an adapter, and returns the snapshot's folder.
func (c *Client) Model(ctx context.Context, r Ref) (string, error) {
	dir := ""
	pin := r
	get := func(name string) (bool, error) {
		p, err := c.File(ctx, pin, name)
		if errors.Is(err, ErrEntryNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		dir = p
		for range strings.Count(name, "/") + 1 {
			dir = filepath.Dir(dir)
		}
		// All files of one call come from one commit, even if the branch moves meanwhile.
		if commit := filepath.Base(dir); commitHash.MatchString(commit) {
			pin.Revision = commit
		}
		return true, nil
	}
	adapter := false
	for _, name := range []string{"config.json", "preprocessor_config.json"} {
		found, err := get(name)
		if err != nil {
			return "", err
		}
		if name == "config.json" && !found {
			if adapter, err = get("adapter_config.json"); err != nil {
				return "", err
			}
		}
	}
	weights := []string{safetensors.ModelFile, safetensors.IndexFile, "pytorch_model.bin"}
	if adapter {
		weights = []string{"adapter_model.safetensors"}
	}
	for _, name := range weights {
		found, err := get(name)
		if err != nil {
			return "", err
		}
		if !found {
			continue
		}
		if name == safetensors.IndexFile {
			return dir, c.shards(dir, get)
		}
		return dir, nil
	}
	return "", fmt.Errorf("%s: %w: none of %v", r, ErrEntryNotFound, weights)
}

func (c *Client) shards(dir string, get func(string) (bool, error)) error {
	path := filepath.Join(dir, safetensors.IndexFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	m, err := safetensors.ParseIndex(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	shards := slices.Compact(slices.Sorted(maps.Values(m)))
	for _, shard := range shards {
		found, err := get(shard)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("%s: names the shard %s, which the repository does not have", path, shard)
		}
	}
	return nil
}
