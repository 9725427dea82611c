package hf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The preprocessing of a model folder is what its files say, in the order in which transformers looks for them; where
// there is none, what is assumed is said with its reason.
func TestOpenProcessor(t *testing.T) {
	const nested = `{"image_processor": {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 40}}}`
	const plain = `{"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 50}}`
	tests := []struct {
		name  string
		files map[string]string
		edge  int
		file  string
	}{
		{"nested", map[string]string{ProcessorsFile: nested}, 40, ProcessorsFile},
		{"both", map[string]string{ProcessorsFile: nested, ProcessorFile: plain}, 40, ProcessorsFile},
		{"not nested", map[string]string{ProcessorsFile: `{"processor_class": "X"}`, ProcessorFile: plain}, 50, ProcessorFile},
		{"plain", map[string]string{ProcessorFile: plain}, 50, ProcessorFile},
		{"none", nil, 256, ""},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("testdata/dinov2")); err != nil {
			t.Fatal(err)
		}
		for name, content := range tt.files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Open(dir, OpenOptions{})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		c.Close()
		p := c.Processor
		if p.Size.ShortestEdge != tt.edge || p.File != tt.file {
			t.Errorf("%s: shortest edge %d of %q, expected %d of %q", tt.name, p.Size.ShortestEdge, p.File, tt.edge, tt.file)
		}
		said := strings.Contains(p.Assumed, "no preprocessor_config.json") && strings.Contains(p.Assumed, "dinov2 models")
		if said != (tt.file == "") {
			t.Errorf("%s: assumed: %q", tt.name, p.Assumed)
		}
		if p.RoundCrop {
			t.Errorf("%s: the centre crop of torchvision for a model of transformers", tt.name)
		}
	}
	dir := t.TempDir()
	bad := []byte(`{"image_processor": {"resample": 9}}`)
	copied := os.CopyFS(dir, os.DirFS("testdata/dinov2"))
	if err := errors.Join(copied, os.WriteFile(filepath.Join(dir, ProcessorsFile), bad, 0o644)); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, OpenOptions{})
	if err == nil || !strings.Contains(err.Error(), ProcessorsFile) || !strings.Contains(err.Error(), "resample") {
		t.Errorf("a bad nested processor: %v", err)
	}
	c, err := Open("testdata/meta-dino/checkpoint.pth", OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := c.Processor
	if !p.RoundCrop || !p.CenterCrop || p.Crop != (Size{Height: 32, Width: 32}) || p.Size != (Size{ShortestEdge: 37}) ||
		!strings.Contains(p.Assumed, "centre crop of torchvision") {
		t.Errorf("a model of Meta's of 32 x 32 pixels: %+v", p)
	}
}
