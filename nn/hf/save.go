package hf

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// SaveOptions says how a model folder is written.
type SaveOptions struct {
	// DType of the weights: F32 (the zero value stands for it), F16 or BF16.
	DType safetensors.DType
	// MaxShard is the largest number of bytes of tensor data in one file; 0 means one file.
	MaxShard int64
	// Pooler writes an identity pooler for a vit without one. transformers' ViTModel always has a pooler and draws
	// a random one, with a warning, where the file has none.
	Pooler bool
}

// Save writes a folder that transformers opens with AutoModel and AutoImageProcessor: weights, config.json and
// preprocessor_config.json. Each file is replaced atomically, the config last. proc may be nil for the family's
// usual one. Adapters and heads are not written.
func Save(dir string, v *nn.ViT, b kernels.Backend, cfg *Config, proc *Processor, o SaveOptions) error {
	out := &Config{ViTConfig: v.Config}
	if cfg != nil {
		out.Extra = cfg.Extra
	}
	if proc == nil {
		proc = DefaultProcessor(v.Config)
	}
	if o.DType == 0 {
		o.DType = safetensors.F32
	}
	var tensors []safetensors.Tensor
	for _, s := range specs(v.Config) {
		p := v.Params.ByName(s.name)
		if p == nil && s.shape.Len() > 0 {
			return fmt.Errorf("%s: the model has no parameter %s", dir, s.name)
		}
		t, err := paramTensor(b, s, p, o.DType)
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		tensors = append(tensors, t)
	}
	return saveFolder(dir, out, proc, tensors, o)
}

// paramTensor downloads a parameter when it is written, not before.
func paramTensor(b kernels.Backend, s spec, p *nn.Param, d safetensors.DType) (safetensors.Tensor, error) {
	if s.shape.Len() == 0 {
		return safetensors.Tensor{Name: s.name, DType: d, Shape: s.shape, Write: func(io.Writer) error { return nil }}, nil
	}
	v := p.Value()
	return safetensors.Tensor{Name: s.name, DType: d, Shape: s.shape, Write: func(w io.Writer) error {
		t, err := safetensors.FromTensorAs(s.name, kernels.ToHost(b, v), d)
		if err != nil {
			return err
		}
		return t.Write(w)
	}}, nil
}

// SaveTo writes the checkpoint's own tensors as a Hugging Face folder: unchanged in every bit, or in o.DType where
// that is not 0.
func (c *Checkpoint) SaveTo(dir string, o SaveOptions) error {
	var tensors []safetensors.Tensor
	stored := safetensors.F32
	for _, i := range c.Tensors() {
		tensors = append(tensors, Convert(safetensors.FromSource(i.Name, c, i), c, i, o.DType))
		if i.DType != safetensors.F32 {
			stored = i.DType
		}
	}
	if o.DType == 0 {
		o.DType = stored
	}
	for _, s := range specs(c.Config.ViTConfig) {
		if c.view.entries[s.name] != nil {
			continue
		}
		if s.shape.Len() > 0 {
			return fmt.Errorf("%s: the checkpoint has no %s", dir, s.name)
		}
		t, err := paramTensor(nil, s, nil, o.DType)
		if err != nil {
			return err
		}
		tensors = append(tensors, t)
	}
	return saveFolder(dir, c.Config, c.Processor, tensors, o)
}

var dtypeNames = map[safetensors.DType]string{safetensors.F32: "float32", safetensors.F16: "float16", safetensors.BF16: "bfloat16", safetensors.F64: "float64"}

func saveFolder(dir string, cfg *Config, proc *Processor, tensors []safetensors.Tensor, o SaveOptions) error {
	config, err := MarshalConfig(cfg, dtypeNames[o.DType])
	if err != nil {
		return err
	}
	processor, err := proc.Marshal()
	if err != nil {
		return err
	}
	if o.Pooler && cfg.Family == nn.FamilyViT && !cfg.Pooler {
		tensors = append(tensors, identityPooler(cfg.Dim)...)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := safetensors.WriteSet(dir, map[string]string{"format": "pt"}, tensors, o.MaxShard); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, ProcessorFile), processor); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, ConfigFile), config)
}

func identityPooler(dim int) []safetensors.Tensor {
	w, b := tensor.Zeros(tensor.F32, dim, dim), tensor.Zeros(tensor.F32, dim)
	for i := range dim {
		w.F32()[i*dim+i] = 1
	}
	return []safetensors.Tensor{safetensors.FromTensor("pooler.dense.weight", w), safetensors.FromTensor("pooler.dense.bias", b)}
}

// writeFile replaces a small file atomically.
func writeFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}

// isAdapterTensor tells an adapter's tensors from the trunk's.
func isAdapterTensor(name string) bool {
	return strings.Contains(name, ".lora_A.") || strings.Contains(name, ".lora_B.")
}
