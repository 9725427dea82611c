package hf

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dino-mx/dmx/kernels/cpu"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/alloctest"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// listing is a source of tensors with chosen names and shapes whose bytes are all zero.
type listing []safetensors.Info

func (l listing) Tensors() []safetensors.Info { return l }

func (l listing) Raw(_ string, _ int64, dst []byte) error { clear(dst); return nil }

// listed reads {"name": [shape]} and gives up on what no weight file can hold.
func listed(raw []byte) (listing, bool) {
	m, err := parseObject(raw)
	if err != nil {
		return nil, false
	}
	var out listing
	for _, name := range slices.Sorted(keysOf(m)) {
		shape := m[name]
		var s tensor.Shape
		n := int64(1)
		if json.Unmarshal(shape, &s) != nil || len(s) > 8 {
			return nil, false
		}
		for _, d := range s {
			if d < 0 || d > 1<<20 || n*int64(d) > 1<<40 {
				return nil, false
			}
			n *= int64(d)
		}
		out = append(out, safetensors.Info{Name: name, DType: safetensors.F32, Shape: s, End: 4 * n})
	}
	return out, true
}

// Whatever names and shapes a weight file has, with or without a config, opening it and asking what would be loaded
// ends in a report or an error, and the model is no larger than the file.
func FuzzOpen(f *testing.F) {
	for _, name := range append([]string{"timm-uni2", "timm-registers", "timm-dinov3", "meta-dinov3"}, hfFixtures...) {
		s, err := safetensors.Open(filepath.Join("testdata", name, safetensors.ModelFile))
		if err != nil {
			f.Fatal(err)
		}
		shapes := map[string]tensor.Shape{}
		for _, t := range s.Tensors() {
			shapes[t.Name] = t.Shape
		}
		s.Close()
		names, err := json.Marshal(shapes)
		if err != nil {
			f.Fatal(err)
		}
		config, err := os.ReadFile(filepath.Join("testdata", name, ConfigFile))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			f.Fatal(err)
		}
		f.Add(names, config)
		f.Add(names, []byte(nil))
	}
	backend := cpu.New(cpu.Options{Threads: 1})
	f.Cleanup(backend.Close)
	b := nn.Builder{Backend: backend, DType: tensor.F32}
	f.Fuzz(func(t *testing.T, names, config []byte) {
		src, ok := listed(names)
		if !ok {
			return
		}
		var cfg *Config
		if len(config) > 0 {
			c, err := ParseConfig(config)
			if err != nil {
				return
			}
			cfg = c
		}
		var c *Checkpoint
		var err error
		alloctest.Limit(t, len(names)+len(config), 8<<20, 1<<10, func() { c, err = New(src, cfg, OpenOptions{Pooler: true}) })
		if err != nil {
			return
		}
		stored := int64(0)
		for _, i := range src {
			stored += i.NumBytes()
		}
		r := c.Report()
		if r.Err(false, true) != nil || stored > 1<<20 {
			return
		}
		alloctest.Limit(t, int(stored), 64<<20, 16, func() { _, _, err = c.Build(b, Allow{Unexpected: true}) })
		if err != nil {
			t.Fatalf("the report is clean and the model cannot be built: %v", err)
		}
	})
}
