package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// cached puts a fixture's model into a Hugging Face cache as org/model and switches the network off.
func cached(t *testing.T, fixture string) {
	t.Helper()
	const commit = "0123456789abcdef0123456789abcdef01234567"
	cache := t.TempDir()
	repo := filepath.Join(cache, "models--org--model")
	snapshot := filepath.Join(repo, "snapshots", commit)
	for _, dir := range []string{snapshot, filepath.Join(repo, "refs")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(repo, "refs", "main"), []byte(commit), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.json", "model.safetensors"} {
		content, err := os.ReadFile(modelDir + fixture + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(snapshot, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	absent := filepath.Join(repo, ".no_exist", commit)
	if err := os.MkdirAll(absent, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(absent, "preprocessor_config.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HF_HUB_CACHE", cache)
	t.Setenv("HF_HUB_OFFLINE", "1")
}

// A hub id works wherever a path does, from the shared cache alone.
func TestHubIDFromTheCache(t *testing.T) {
	cached(t, "dinov2")
	if code, out, errOut := dmx(t, "model", "inspect", "org/model"); code != 0 || !strings.Contains(out, "family         dinov2") {
		t.Errorf("inspect: exit code %d: %s", code, errOut)
	}
	dir := t.TempDir()
	tiny.pngFolder(t, filepath.Join(dir, "data"))
	code, errOut := trainOn(t, dir, filepath.Join(dir, "data"), "train.use_pretrained=true", "train.model_type=org/model",
		"crops.global_crops_size=28", "crops.local_crops_size=14")
	if code != 0 {
		t.Fatalf("train: exit code %d: %s", code, errOut)
	}
	if !strings.Contains(errOut, "initial weights") || !strings.Contains(errOut, "43 tensors loaded") {
		t.Errorf("train does not say what it loaded: %s", errOut)
	}
	if !strings.Contains(errOut, "the initial weights were trained with 0.485 and 0.229; set dataset.mean=[0.4850,0.4560,0.4060]") {
		t.Errorf("train does not say that the model expects another normalisation: %s", errOut)
	}
	code, errOut = trainOn(t, t.TempDir(), filepath.Join(dir, "data"), "train.use_pretrained=true", "train.model_type=org/other")
	if code != 1 || !strings.Contains(errOut, "train.model_type") || !strings.Contains(errOut, "offline mode is on") || !strings.Contains(errOut, "train.use_pretrained=false") {
		t.Errorf("a model that is not there: exit code %d: %s", code, errOut)
	}
}

// Crops are cut into the patches of the weights, whatever model.patch_size says.
func TestCropsFitThePatchesOfTheWeights(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	tiny.pngFolder(t, data)
	run := func(extra ...string) (int, string) {
		return trainOn(t, t.TempDir(), data, append(extra, "train.use_pretrained=false", "train.checkpoint_path="+modelDir+"dinov2", "model.patch_size=4")...)
	}
	code, errOut := run("crops.global_crops_size=32", "crops.local_crops_size=12")
	for _, want := range []string{
		"crops.global_crops_size: 32: expected a multiple of the patch size 14 of the weights of train.checkpoint_path; set crops.global_crops_size=28",
		"crops.local_crops_size: 12: expected a multiple of the patch size 14 of the weights of train.checkpoint_path; set crops.local_crops_size=14",
	} {
		if code != 1 || !strings.Contains(errOut, want) {
			t.Errorf("exit code %d: %s\nwant %s", code, errOut, want)
		}
	}
	if code, errOut := run("crops.global_crops_size=42", "crops.local_crops_size=14"); code != 0 {
		t.Errorf("sizes that only the weights fit: exit code %d: %s", code, errOut)
	}
}
