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
// for them: safetensors, its shards, PyTorch) or, where there are none, of a PEFT adapter, and returns the snapshot's
// folder.
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
	for _, name := range []string{"config.json", "preprocessor_config.json", "processor_config.json"} {
		_, err := get(name)
		if name == "processor_config.json" && errors.Is(err, ErrOffline) {
			err = nil // a cache that other programs filled before they asked for it
		}
		if err != nil {
			return "", err
		}
	}
	first := func(names []string) (string, error) {
		for _, name := range names {
			if found, err := get(name); found || err != nil {
				return name, err
			}
		}
		return "", nil
	}
	switch name, err := first(modelFiles); {
	case err != nil:
		return "", err
	case name == safetensors.IndexFile:
		return dir, c.shards(dir, get)
	case name != "":
		return dir, nil
	}
	adapter, err := get("adapter_config.json")
	if err != nil {
		return "", err
	}
	if adapter {
		if name, err := first(adapterFiles); name != "" || err != nil {
			return dir, err
		}
	}
	return "", fmt.Errorf("%s: %w: none of %v, and no adapter_config.json with one of %v", r, ErrEntryNotFound, modelFiles, adapterFiles)
}

// modelFiles and adapterFiles are the names of weights in the order transformers and peft look for them.
var (
	modelFiles   = []string{safetensors.ModelFile, safetensors.IndexFile, "pytorch_model.bin"}
	adapterFiles = []string{"adapter_model.safetensors", "adapter_model.bin"}
)

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
