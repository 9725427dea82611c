package hf

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/nn/hf/pth"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

func TestOpenMistakes(t *testing.T) {
	huge := t.TempDir()
	weights, err := os.ReadFile("testdata/dinov2/model.safetensors")
	if err == nil {
		err = os.WriteFile(filepath.Join(huge, "model.safetensors"), weights, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(huge, ConfigFile))
	if err == nil {
		err = f.Truncate(1 << 40) // a sparse file
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 346345912\n"
	for _, tt := range []struct{ name, path, want string }{
		{"a Git LFS pointer in PyTorch's place", file("a.pth", pointer), "a Git LFS pointer (to a file of 346345912 bytes), not the weights; run git lfs pull"},
		{"a Git LFS pointer in a folder", filepath.Dir(file("model.safetensors", pointer)), "a Git LFS pointer"},
		{"a web page", file("a.safetensors", "\n<!DOCTYPE html>\n<html>"), "a web page"},
		{"a web page in PyTorch's place", file("pytorch_model.bin", "<html><body>login</body></html>"), "a web page"},
		{"a server's message", file("a.safetensors", `{"error":"Repository not found"}`), "a server's error message"},
		{"nothing in a file", file("a.pth", ""), "an empty file"},
		{"nothing in a safetensors file", file("a.safetensors", ""), "an empty file"},
		{"a zip archive that is cut off", file("a.pth", "PK\x03\x04half"), "the archive is truncated or damaged"},
		{"gzip", file("a.pth", "\x1f\x8b\x08"), "gunzip"},
		{"a bare pickle", file("a.pkl", "\x80\x04}."), "a bare pickle"},
		{"a distributed checkpoint", filepath.Dir(file("__0_0.distcp", "PK\x03\x04")), "dcp_to_torch"},
		{"a part of a distributed checkpoint", file("__0_0.distcp", "PK\x03\x04"), "dcp_to_torch"},
		{"weights for TensorFlow", filepath.Dir(file("tf_model.h5", "\x89HDF\r\n")), "TensorFlow"},
		{"DTensors", "testdata/odd/dtensor.pth", "model.cls_token is a DTensor, of which the file holds the part of one rank"},
		{"NumPy arrays", "testdata/odd/numpy.pth", "cls_token is a NumPy array, not a tensor; save the arrays as tensors"},
		{"a NumPy archive", "testdata/odd/weights.npz", "a NumPy archive"},
		{"TorchScript", "testdata/odd/script.pt", "a TorchScript program"},
		{"the parameters of an FSDP rank", "testdata/odd/flat.pth", "_flat_param holds the parameters of one FSDP rank"},
		{"an adapter", "testdata/peft-dinov2", "a PEFT adapter, not a model"},
		{"nothing", "testdata/absent", "no such file"},
		{"an empty folder", t.TempDir(), "no weights; expected one of model.safetensors"},
		{"a config of a terabyte", huge, "config.json: more than"},
		{"not weights", "testdata/versions.json", "weight_map is missing"},
	} {
		c, err := Open(tt.path, OpenOptions{})
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), filepath.Base(tt.path)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// A DTensor that lies on one rank as a whole is an ordinary tensor.
func TestWholeDTensors(t *testing.T) {
	c, err := Open("testdata/odd/dtensor-whole.pth", OpenOptions{Heads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.Build(newBuilder(t, false), Allow{}); err != nil {
		t.Error(err)
	}
	if len(c.Report().Ignored) != 1 || c.Report().Ignored[0].Stored != "iteration" {
		t.Errorf("ignored: %v", c.Report().Ignored)
	}
}

// An error about a config names the config, and one about the weights names the weight file.
func TestOpenErrorsNameOneFile(t *testing.T) {
	for _, tt := range []struct{ file, content, want, not string }{
		{ConfigFile, `{"model_type":"beit"}`, "config.json: model config: model_type is beit", "model.safetensors"},
		{ProcessorFile, `{"image_mean":[0.5]`, "preprocessor_config.json: ", "model.safetensors"},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("testdata/dinov2")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.content), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := Open(dir, OpenOptions{})
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), tt.not) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

// A folder with a PyTorch file in shards is the model whose tensors they hold; an index that does not fit is an error.
func TestPickleShards(t *testing.T) {
	src, err := safetensors.OpenSet("testdata/dinov2")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dir := t.TempDir()
	shards := make([][]safetensors.Tensor, 2)
	weightMap := map[string]string{}
	for i, x := range src.Tensors() {
		shards[i%2] = append(shards[i%2], safetensors.FromSource(x.Name, src, x))
		weightMap[x.Name] = fmt.Sprintf("pytorch_model-0000%d-of-00002.bin", i%2+1)
	}
	for i, shard := range shards {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("pytorch_model-0000%d-of-00002.bin", i+1)))
		if err == nil {
			err = errors.Join(pth.Write(f, shard), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	index := func() {
		raw, err := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": weightMap})
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, pickleIndex), raw, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	index()
	config, err := os.ReadFile("testdata/dinov2/config.json")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, ConfigFile), config, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if diff := cmp.Diff(readAll(t, src), readAll(t, c)); diff != "" {
		t.Error(diff)
	}
	weightMap["embeddings.cls_token"] = "pytorch_model-00002-of-00002.bin"
	index()
	if _, err := Open(dir, OpenOptions{}); err == nil || !strings.Contains(err.Error(), `does not say that tensor "embeddings.cls_token"`) {
		t.Errorf("a tensor in another shard: %v", err)
	}
	delete(weightMap, "embeddings.cls_token")
	weightMap["absent"] = "pytorch_model-00001-of-00002.bin"
	index()
	if _, err := Open(dir, OpenOptions{}); err == nil || !strings.Contains(err.Error(), "the index does not say") {
		t.Errorf("a tensor that the index leaves out: %v", err)
	}
}

// Parameters that DeepSpeed has partitioned are named as such.
func TestPartitionedParameters(t *testing.T) {
	_, err := Open(trunkFile(t, map[string]safetensors.Tensor{"module.cls_token": zeros(0), "module.patch_embed.proj.weight": zeros(0)}), OpenOptions{})
	if err == nil || !strings.Contains(err.Error(), "zero_to_fp32.py") {
		t.Error(err)
	}
}
