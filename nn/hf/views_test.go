//go:build unix

package hf

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// wideModel is a model folder whose matrices are large enough to be shown, of the given family.
func wideModel(t *testing.T, config string, dtype safetensors.DType) string {
	t.Helper()
	cfg, err := ParseConfig([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	b := newBuilder(t, false)
	v, err := b.NewViT(cfg.ViTConfig)
	if err != nil {
		t.Fatal(err)
	}
	v.Params.Init(b.Backend, 3, nil)
	dir := t.TempDir()
	if err := Save(dir, v, b.Backend, cfg, nil, SaveOptions{DType: dtype}); err != nil {
		t.Fatal(err)
	}
	return dir
}

const wideDINOv2 = `{"model_type":"dinov2","hidden_size":192,"num_hidden_layers":2,"num_attention_heads":3,"image_size":56,"patch_size":14}`

// forward is the tokens of one picture.
func forward(t *testing.T, b nn.Builder, v *nn.ViT) []float32 {
	t.Helper()
	x := tensor.Zeros(tensor.F32, 2, v.Config.Channels, 56, 84)
	r := tensor.NewRand(5, 1, 1, 1)
	for i, f := 0, x.F32(); i < len(f); i++ {
		f[i] = float32(r.Norm())
	}
	groups := []nn.Group{{Images: x}}
	l, err := v.Layout(groups)
	if err != nil {
		t.Fatal(err)
	}
	tape := b.NewTape()
	var out []float32
	tape.NoGrad(func() { out = append(out, v.Forward(tape, l, groups, nn.Options{}).Tokens.Value.F32()...) })
	return out
}

// A model of views is the model that Build makes: parameters, report and results, bit for bit. Only the large
// matrices of a file in the working type are views.
func TestViewsAreTheModel(t *testing.T) {
	matrices := func(names ...string) []string {
		var out []string
		for i := range 2 {
			for _, n := range names {
				out = append(out, fmt.Sprintf(n, i))
			}
		}
		return out
	}
	const at, v3 = "encoder.layer.%d.attention.attention.", "layer.%d."
	tests := []struct {
		name, config string
		dtype        safetensors.DType
		want         []string
	}{
		{"dinov2", wideDINOv2, safetensors.F32, append([]string{"embeddings.patch_embeddings.projection.weight"},
			matrices(at+"query.weight", at+"key.weight", at+"value.weight", "encoder.layer.%d.attention.output.dense.weight",
				"encoder.layer.%d.mlp.fc1.weight", "encoder.layer.%d.mlp.fc2.weight")...)},
		{"dinov3, gated", `{"model_type":"dinov3_vit","hidden_size":192,"num_hidden_layers":2,"num_attention_heads":3,"intermediate_size":512,
			"image_size":56,"patch_size":14,"use_gated_mlp":true,"hidden_act":"silu","num_register_tokens":4}`, safetensors.F32, append([]string{"embeddings.patch_embeddings.weight"},
			matrices(v3+"attention.q_proj.weight", v3+"attention.k_proj.weight", v3+"attention.v_proj.weight", v3+"attention.o_proj.weight",
				v3+"mlp.gate_proj.weight", v3+"mlp.up_proj.weight", v3+"mlp.down_proj.weight")...)},
		{"vit, large position table", `{"model_type":"vit","hidden_size":128,"num_hidden_layers":2,"num_attention_heads":2,"intermediate_size":256,
			"image_size":168,"patch_size":14}`, safetensors.F32, append([]string{"embeddings.position_embeddings", "embeddings.patch_embeddings.projection.weight"},
			matrices(at+"query.weight", at+"key.weight", at+"value.weight", "encoder.layer.%d.attention.output.dense.weight",
				"encoder.layer.%d.intermediate.dense.weight", "encoder.layer.%d.output.dense.weight")...)},
		{"bf16 file", wideDINOv2, safetensors.BF16, nil},
		{"f16 file", wideDINOv2, safetensors.F16, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBuilder(t, false)
			c, err := Open(wideModel(t, tt.config, tt.dtype), OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			own, ownReport, err := c.Build(b, Allow{})
			if err != nil {
				t.Fatal(err)
			}
			views, report, err := c.BuildViews(b, Allow{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(ownReport, report); d != "" {
				t.Errorf("report (-Build +BuildViews):\n%s", d)
			}
			var shown []string
			for i, p := range views.Params.All() {
				q := own.Params.All()[i]
				if p.Name != q.Name || !p.Shape.Equal(q.Shape) || p.Kind != q.Kind || p.Depth != q.Depth || !bytes.Equal(p.Value().Bytes(), q.Value().Bytes()) {
					t.Errorf("%s %s differs from %s %s", p.Name, p.Shape, q.Name, q.Shape)
				}
				if v := c.view.View(p.Name); v != nil && p.Value().Len() > 0 && &v.Bytes()[0] == &p.Value().Bytes()[0] {
					shown = append(shown, p.Name)
				}
			}
			if d := cmp.Diff(tt.want, shown); d != "" {
				t.Errorf("views (-want +got):\n%s", d)
			}
			if d := cmp.Diff(forward(t, b, own), forward(t, b, views)); d != "" {
				t.Errorf("tokens (-Build +BuildViews):\n%s", d)
			}
			if err := c.Unchanged(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Files with fused query, key and value show their thirds; adapters go on a model of views, are merged into it, and
// leave the file as it is.
func TestViewsOfOtherNamings(t *testing.T) {
	dir := wideModel(t, wideDINOv2, safetensors.F32)
	from, err := Open(dir, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	src, _, err := from.Export(NamingDINOv2)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []safetensors.Tensor
	for _, i := range src.Tensors() {
		tensors = append(tensors, safetensors.FromSource(i.Name, src, i))
	}
	file := filepath.Join(t.TempDir(), "meta.safetensors")
	if err := safetensors.WriteFile(file, nil, tensors); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(file, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := newBuilder(t, false)
	var results [][]float32
	for i, build := range []func(nn.Builder, Allow) (*nn.ViT, *Report, error){c.Build, c.BuildViews} {
		v, _, err := build(b, Allow{})
		if err != nil {
			t.Fatal(err)
		}
		if apart := v.Blocks[0].QKV.W == nil; apart != (i == 1) {
			t.Errorf("query, key and value lie apart: %v", apart)
		}
		adapters, err := b.AddLoRA(v, nn.LoRAConfig{Rank: 2, Alpha: 3, Targets: []string{"query", "value", "fc1"}})
		if err != nil {
			t.Fatal(err)
		}
		v.Params.Init(b.Backend, 9, func(p *nn.Param) bool { return strings.Contains(p.Name, "lora") })
		for _, a := range adapters {
			for k, f := 0, a.B.Master.F32(); k < len(f); k++ {
				f[k] = float32(k%7) / 50
			}
		}
		out := forward(t, b, v)
		for _, a := range adapters {
			a.Merge(b.Backend)
		}
		results = append(results, append(out, forward(t, b, v)...))
	}
	if d := cmp.Diff(results[0], results[1]); d != "" {
		t.Errorf("tokens before and after merging (-Build +BuildViews):\n%s", d)
	}
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("merging changed the file")
	}
}

// A model whose file is replaced goes on; one whose file is cut off is an error that names the file, also where the
// backend's other threads meet the missing pages; and a closed one is a mistake of the program, named as such.
func TestViewsWhenTheFileGoes(t *testing.T) {
	dir := wideModel(t, wideDINOv2, safetensors.F32)
	path := filepath.Join(dir, safetensors.ModelFile)
	c, err := Open(dir, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := newBuilder(t, false)
	v, _, err := c.BuildViews(b, Allow{})
	if err != nil {
		t.Fatal(err)
	}
	run := func() (out []float32, err error) {
		defer tensor.GuardMapped(&err)()
		return forward(t, b, v), nil
	}
	want, err := run()
	if err != nil {
		t.Fatal(err)
	}
	kept := path + ".kept"
	if err := os.Link(path, kept); err != nil {
		t.Fatal(err)
	}
	if err := safetensors.WriteFile(path, nil, nil); err != nil {
		t.Fatal(err)
	}
	got, err := run()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("after the file was replaced:\n%s", d)
	}
	if err := c.Unchanged(); err != nil {
		t.Error(err)
	}

	if err := os.Truncate(kept, 10000); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		var fault *tensor.MappedFault
		if _, err := run(); !errors.As(err, &fault) || fault.Path != path {
			t.Fatalf("after the file was cut off: %v", err)
		}
	}
	if err := c.Unchanged(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Unchanged: %v", err)
	}
	other, _ := loadModel(t, b, "dinov2", OpenOptions{})
	again, _ := loadModel(t, newBuilder(t, false), "dinov2", OpenOptions{})
	if d := cmp.Diff(forward(t, newBuilder(t, false), again), forward(t, b, other)); d != "" {
		t.Errorf("the backend is not what it was before the fault:\n%s", d)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if r := fmt.Sprint(recover()); !strings.Contains(r, "used after") {
			t.Errorf("after Close: %s", r)
		}
	}()
	_, _ = run()
}

// A weight that is not finite is an error of Build. In a view it is found by CheckFinite alone, which names it too.
func TestViewsThatAreNonFinite(t *testing.T) {
	const name = "encoder.layer.1.mlp.fc2.weight"
	dir := wideModel(t, wideDINOv2, safetensors.F32)
	path := filepath.Join(dir, safetensors.ModelFile)
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []safetensors.Tensor
	for _, i := range f.Tensors() {
		x, err := safetensors.ReadTensor(f, i.Name)
		if err != nil {
			t.Fatal(err)
		}
		if i.Name == name {
			x.Set(x.Len()-1, math.Inf(1))
		}
		tensors = append(tensors, safetensors.FromTensor(i.Name, x))
	}
	if err := errors.Join(f.Close(), safetensors.WriteFile(path, nil, tensors)); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := newBuilder(t, false)
	var bad *safetensors.NonFiniteError
	if _, _, err := c.Build(b, Allow{}); !errors.As(err, &bad) || bad.Info.Name != name {
		t.Errorf("Build: %v", err)
	}
	if _, _, err := c.Build(b, Allow{NonFinite: true}); err != nil {
		t.Errorf("Build, allowed: %v", err)
	}
	if _, _, err := c.BuildViews(b, Allow{}); err != nil {
		t.Errorf("BuildViews: %v", err)
	}
	if err := c.CheckFinite(); !errors.As(err, &bad) || bad.Info.Name != name || !strings.Contains(err.Error(), dir) {
		t.Errorf("CheckFinite: %v", err)
	}
}
