package hf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	for _, tt := range []struct{ name, path, want string }{
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
