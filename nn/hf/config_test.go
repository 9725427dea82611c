package hf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/kernels"
	"github.com/dino-mx/dmx/nn"
	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/alloctest"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// The published models as their config.json says them, with the parameter counts that follow.
func TestPublishedConfigs(t *testing.T) {
	tests := []struct {
		name, config string
		params       int
		tensors      int
	}{
		{"dino-vits16", `{"model_type":"vit","hidden_size":384,"num_attention_heads":6,"intermediate_size":1536}`, 21_665_664, 198},
		{"dino-vits8", `{"model_type":"vit","hidden_size":384,"num_attention_heads":6,"intermediate_size":1536,"patch_size":8}`, 21_670_272, 198},
		{"dino-vitb16", `{"model_type":"vit"}`, 85_798_656, 198},
		{"dino-vitb8", `{"model_type":"vit","patch_size":8}`, 85_807_872, 198},
		{"dinov2-small", `{"model_type":"dinov2","hidden_size":384,"num_attention_heads":6,"image_size":518}`, 22_056_576, 223},
		{"dinov2-base", `{"model_type":"dinov2","image_size":518}`, 86_580_480, 223},
		{"dinov2-large", `{"model_type":"dinov2","hidden_size":1024,"num_hidden_layers":24,"num_attention_heads":16,"image_size":518}`, 304_368_640, 439},
		{"dinov2-giant", `{"model_type":"dinov2","hidden_size":1536,"num_hidden_layers":40,"num_attention_heads":24,"image_size":518,"use_swiglu_ffn":true}`, 1_136_480_768, 727},
		{"dinov2-with-registers-base", `{"model_type":"dinov2_with_registers","image_size":518,"patch_size":14}`, 86_583_552, 224},
		{"dinov3-vits16", `{"model_type":"dinov3_vit","num_register_tokens":4}`, 21_596_544, 211},
		{"dinov3-vits16plus", `{"model_type":"dinov3_vit","num_register_tokens":4,"use_gated_mlp":true,"hidden_act":"silu"}`, 28_692_864, 235},
		{"dinov3-vitb16", `{"model_type":"dinov3_vit","hidden_size":768,"intermediate_size":3072,"num_attention_heads":12,"num_register_tokens":4}`, 85_660_416, 211},
		{"dinov3-vith16plus", `{"model_type":"dinov3_vit","hidden_size":1280,"intermediate_size":5120,"num_hidden_layers":32,"num_attention_heads":20,"num_register_tokens":4,"use_gated_mlp":true,"hidden_act":"silu"}`, 840_592_640, 615},
		{"dinov3-vit7b16", `{"model_type":"dinov3_vit","hidden_size":4096,"intermediate_size":8192,"num_hidden_layers":40,"num_attention_heads":32,"num_register_tokens":4,"use_gated_mlp":true,"hidden_act":"silu","query_bias":false,"value_bias":false}`, 6_716_035_072, 0},
	}
	for _, tt := range tests {
		c, err := ParseConfig([]byte(tt.config))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		params, tensors := 0, 0
		for _, s := range specs(c.ViTConfig) {
			params += s.shape.Len()
			tensors++
		}
		if params != tt.params || tt.tensors != 0 && tensors != tt.tensors {
			t.Errorf("%s: %d parameters in %d tensors, want %d in %d", tt.name, params, tensors, tt.params, tt.tensors)
		}
	}
}

// The names and shapes this package expects are the ones the model registers.
func TestSpecsAreTheModelsParameters(t *testing.T) {
	for _, name := range hfFixtures {
		v, c := loadModel(t, newBuilder(t, false), name, OpenOptions{Pooler: true})
		want := map[string]string{}
		for _, s := range specs(c.Config.ViTConfig) {
			want[s.name] = s.shape.String()
		}
		got := map[string]string{}
		for _, p := range v.Params.All() {
			got[p.Name] = p.Shape.String()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestConfigRejects(t *testing.T) {
	for config, want := range map[string]string{
		``: "not JSON", `[]`: "not a JSON object", `{}`: "model_type is missing", `{"model_type":"beit"}`: "beit",
		`{"model_type":"vit"} x`:                                                              "more after",
		`{"model_type":"vit","model_type":"vit"}`:                                             "occurs twice",
		`{"model_type":"vit","hidden_size":"a"}`:                                              "hidden_size",
		`{"model_type":"vit","hidden_size":1e300}`:                                            "hidden_size",
		`{"model_type":"vit","hidden_size":-1}`:                                               "hidden_size is -1",
		`{"model_type":"vit","hidden_size":770}`:                                              "num_attention_heads",
		`{"model_type":"vit","num_hidden_layers":1000000000}`:                                 "num_hidden_layers",
		`{"model_type":"vit","image_size":[224,112]}`:                                         "square",
		`{"model_type":"vit","hidden_act":"mish"}`:                                            "hidden_act is mish",
		`{"model_type":"vit","pooler_act":"relu"}`:                                            "pooler_act",
		`{"model_type":"vit","qkv_bias":1}`:                                                   "qkv_bias",
		`{"model_type":"vit","layer_norm_eps":0}`:                                             "layer_norm_eps",
		`{"model_type":"dinov2","mlp_ratio":[]}`:                                              "mlp_ratio",
		`{"model_type":"dinov3_vit","hidden_size":6}`:                                         "rotary",
		`{"model_type":"dinov2","dmx_interpolation":"x"}`:                                     "dmx_interpolation",
		`{"architecture":"resnet50"}`:                                                         "architecture is resnet50",
		`{"architecture":"vit_base_patch16_clip_224"}`:                                        "architecture",
		`{"architecture":"vit_base_patch16_224","model_args":{"rope":1}}`:                     "rope",
		`{"architecture":"vit_base_patch16_224","model_args":{"class_token":false}}`:          "CLS",
		`{"architecture":"vit_base_patch16_224","pretrained_cfg":{"input_size":[3,224,100]}}`: "input_size",
	} {
		if _, err := ParseConfig([]byte(config)); err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}

func TestProcessorConfigs(t *testing.T) {
	imagenet := func(p Processor) *Processor {
		p.Rescale, p.RescaleFactor, p.Normalize, p.Resize = true, 1.0/255, true, true
		if p.Mean == nil {
			p.Mean, p.Std = ImageNetMean, ImageNetStd
		}
		return &p
	}
	tests := []struct {
		name, config string
		family       nn.Family
		want         *Processor
	}{
		{"DINO v1, legacy", `{"feature_extractor_type":"ViTFeatureExtractor","size":224,"resample":3,"image_mean":[0.485,0.456,0.406],"image_std":[0.229,0.224,0.225]}`, nn.FamilyViT,
			imagenet(Processor{Kind: ViTProcessor, Size: Size{Height: 224, Width: 224}, Resample: Bicubic})},
		{"DINOv2", `{"image_processor_type":"BitImageProcessor","size":{"shortest_edge":256},"crop_size":{"height":224,"width":224},"resample":3,"image_mean":[0.485,0.456,0.406],"image_std":[0.229,0.224,0.225],"do_convert_rgb":true}`, nn.FamilyDINOv2,
			imagenet(Processor{Kind: BitProcessor, Size: Size{ShortestEdge: 256}, Resample: Bicubic, CenterCrop: true, Crop: Size{Height: 224, Width: 224}, ConvertRGB: true})},
		{"DINOv3", `{"image_processor_type":"DINOv3ViTImageProcessorFast","do_center_crop":null,"crop_size":null}`, nn.FamilyDINOv3,
			imagenet(Processor{Kind: DINOv3Processor, Size: Size{Height: 224, Width: 224}, Resample: Bilinear, RescaleFirst: true})},
		{"bare number for Bit is a shortest edge", `{"image_processor_type":"BitImageProcessor","size":300,"do_center_crop":false,"image_mean":[0.5],"image_std":[0.25]}`, nn.FamilyDINOv2,
			imagenet(Processor{Kind: BitProcessor, Size: Size{ShortestEdge: 300}, Resample: Bicubic, ConvertRGB: true, Mean: []float64{0.5}, Std: []float64{0.25}})},
	}
	for _, tt := range tests {
		got, err := ParseProcessor([]byte(tt.config), tt.family)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		raw, err := got.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseProcessor(raw, tt.family)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Errorf("%s: written and read: %s", tt.name, diff)
		}
	}
	for config, want := range map[string]string{
		`{"image_processor_type":"SamImageProcessor"}`: "SamImageProcessor",
		`{"image_mean":[1,2]}`:                         "one per channel",
		`{"image_std":[1,0,1]}`:                        "positive",
		`{"size":{"height":5}}`:                        "size",
		`{"size":{"shortest_edge":-5}}`:                "size",
		`{"resample":9}`:                               "resample",
		`{"rescale_factor":0}`:                         "rescale_factor",
	} {
		if _, err := ParseProcessor([]byte(config), nn.FamilyDINOv2); err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, ErrProcessor) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}

// copyModel copies a fixture's model so that a test can damage it.
func copyModel(t *testing.T, name string, edit func(tensors map[string]safetensors.Tensor, config *string)) string {
	t.Helper()
	dir := t.TempDir()
	src, err := safetensors.OpenSet(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	tensors := map[string]safetensors.Tensor{}
	for _, i := range src.Tensors() {
		tensors[i.Name] = safetensors.FromSource(i.Name, src, i)
	}
	raw, err := os.ReadFile(filepath.Join("testdata", name, ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	config := string(raw)
	edit(tensors, &config)
	var list []safetensors.Tensor
	for n, x := range tensors {
		x.Name = n
		list = append(list, x)
	}
	if err := safetensors.WriteFile(filepath.Join(dir, safetensors.ModelFile), nil, list); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ConfigFile), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func zeros(shape ...int) safetensors.Tensor {
	return safetensors.FromTensor("", tensor.Zeros(tensor.F32, shape...))
}

// Loading explains every tensor or fails, unless it is told to let go.
func TestStrictLoading(t *testing.T) {
	prefixAll := func(prefix string) func(map[string]safetensors.Tensor, *string) {
		return func(m map[string]safetensors.Tensor, _ *string) {
			all := map[string]safetensors.Tensor{}
			for n, x := range m {
				all[prefix+n] = x
			}
			clear(m)
			for n, x := range all {
				m[n] = x
			}
		}
	}
	tests := []struct {
		name  string
		edit  func(m map[string]safetensors.Tensor, config *string)
		allow Allow
		want  string // in the error; empty for success
		note  string // in the printed report
	}{
		{"as it is", func(map[string]safetensors.Tensor, *string) {}, Allow{}, "", "loaded      layernorm.weight"},
		{"with the class's prefix and a head", func(m map[string]safetensors.Tensor, c *string) {
			prefixAll("dinov2.")(m, c)
			m["classifier.weight"] = zeros(10, 48)
		}, Allow{}, "", "ignored     classifier.weight"},
		{"wrapped by data parallelism", prefixAll("module."), Allow{}, "", "from module.layernorm.weight"},
		{"missing", func(m map[string]safetensors.Tensor, _ *string) { delete(m, "layernorm.bias") }, Allow{}, "missing: layernorm.bias", ""},
		{"missing, allowed", func(m map[string]safetensors.Tensor, _ *string) { delete(m, "layernorm.bias") }, Allow{Missing: true}, "", "missing     layernorm.bias"},
		{"mask token missing", func(m map[string]safetensors.Tensor, _ *string) { delete(m, "embeddings.mask_token") }, Allow{}, "", "initialised embeddings.mask_token"},
		{"unexpected", func(m map[string]safetensors.Tensor, _ *string) { m["encoder.layer.0.extra"] = zeros(3) }, Allow{}, "unexpected: encoder.layer.0.extra (not a tensor of this model)", ""},
		{"unexpected, allowed", func(m map[string]safetensors.Tensor, _ *string) { m["encoder.layer.0.extra"] = zeros(3) }, Allow{Unexpected: true}, "", "unexpected  encoder.layer.0.extra"},
		{"one block too many", func(_ map[string]safetensors.Tensor, c *string) {
			*c = strings.Replace(*c, `"num_hidden_layers": 2`, `"num_hidden_layers": 1`, 1)
		}, Allow{}, "unexpected: encoder.layer.1", ""},
		{"other shape", func(m map[string]safetensors.Tensor, _ *string) { m["layernorm.bias"] = zeros(23) }, Allow{Missing: true, Unexpected: true}, "wrong shape: layernorm.bias (stored as [23], the config says [24])", ""},
		{"config of another size", func(_ map[string]safetensors.Tensor, c *string) {
			*c = strings.Replace(*c, `"image_size": 56`, `"image_size": 28`, 1)
		}, Allow{}, "embeddings.position_embeddings (stored as [1 17 24], the config says [1 5 24])", ""},
		{"no trunk", func(m map[string]safetensors.Tensor, _ *string) { delete(m, "embeddings.cls_token") }, Allow{}, "no vision transformer found", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Open(copyModel(t, "dinov2", tt.edit), OpenOptions{})
			var r *Report
			if err == nil {
				defer c.Close()
				_, r, err = c.Build(newBuilder(t, false), tt.allow)
			}
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			r.Print(&b)
			if !strings.Contains(b.String(), tt.note) {
				t.Errorf("report lacks %q:\n%s", tt.note, b.String())
			}
		})
	}
}

// The branch of a training checkpoint is chosen by name and everything else is accounted for.
func TestBranches(t *testing.T) {
	path := "testdata/meta-dino/checkpoint.pth"
	teacher, err := Open(path, OpenOptions{Heads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer teacher.Close()
	student, err := Open(path, OpenOptions{Heads: 2, Branch: "student"})
	if err != nil {
		t.Fatal(err)
	}
	defer student.Close()
	if teacher.Prefix != "teacher.backbone." || student.Prefix != "student.module.backbone." {
		t.Errorf("prefixes %q and %q", teacher.Prefix, student.Prefix)
	}
	a, err := safetensors.ReadTensor(teacher, "layernorm.bias")
	if err != nil {
		t.Fatal(err)
	}
	b, err := safetensors.ReadTensor(student, "layernorm.bias")
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Len() {
		if d := b.At(i) - a.At(i); d < 0.9999 || d > 1.0001 {
			t.Fatalf("student and teacher differ by %g, want 1", d)
		}
	}
	why := map[string]string{}
	for _, it := range teacher.Report().Ignored {
		why[it.Stored] = it.Why
	}
	for name, want := range map[string]string{
		"teacher.head.mlp.0.weight": "a head", "student.module.backbone.cls_token": "another branch", "args": "argparse.Namespace", "epoch": "the number 3",
	} {
		if !strings.Contains(why[name], want) {
			t.Errorf("%s is ignored as %q, want %q", name, why[name], want)
		}
	}
	if _, err := Open(path, OpenOptions{Branch: "ema"}); err == nil || !strings.Contains(err.Error(), "teacher.backbone.") {
		t.Errorf("an absent branch: %v", err)
	}
}

// Half-precision files load into f32 exactly and are written again on request.
func TestHalfPrecision(t *testing.T) {
	for _, d := range []safetensors.DType{safetensors.F16, safetensors.BF16} {
		b := newBuilder(t, false)
		v, c := loadModel(t, b, "dinov2", OpenOptions{})
		dir := t.TempDir()
		if err := Save(dir, v, b.Backend, c.Config, nil, SaveOptions{DType: d}); err != nil {
			t.Fatal(err)
		}
		half, err := Open(dir, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer half.Close()
		w, _, err := half.Build(b, Allow{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range v.Params.All() {
			q := w.Params.ByName(p.Name)
			for i := range p.Value().Len() {
				want := p.Value().At(i)
				if d == safetensors.F16 {
					want = float64(safetensors.FromF16(safetensors.ToF16(float32(want))))
				} else {
					want = float64(tensor.FromBF16(tensor.ToBF16(float32(want))))
				}
				if q.Value().At(i) != want {
					t.Fatalf("%s %s[%d] is %g, want %g", d, p.Name, i, q.Value().At(i), want)
				}
			}
		}
	}
}

func TestActivationNames(t *testing.T) {
	for name, act := range activationNames {
		if activationNames[ActivationName(act)] != act {
			t.Errorf("%s is written as %s", name, ActivationName(act))
		}
	}
	if ActivationName(kernels.GELU) != "gelu" {
		t.Error("exact GELU has another name")
	}
}

func FuzzConfig(f *testing.F) {
	for _, name := range hfFixtures {
		raw, err := os.ReadFile(filepath.Join("testdata", name, ConfigFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	raw, err := os.ReadFile("testdata/timm-uni2/config.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var c *Config
		var err error
		alloctest.Limit(t, len(raw), 1<<20, 256, func() { c, err = ParseConfig(raw) })
		if err != nil {
			if !errors.Is(err, ErrConfig) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		if c.Timm != nil {
			_, err := c.Timm.Processor()
			if err != nil && !errors.Is(err, ErrConfig) && !errors.Is(err, ErrProcessor) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		if n := len(specs(c.ViTConfig)); n > 25*maxDepth {
			t.Fatalf("%d tensors", n)
		}
		out, err := MarshalConfig(c, "float32")
		if err != nil {
			return // an MLP width that no whole ratio gives
		}
		again, err := ParseConfig(out)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, out)
		}
		again.Pooler = c.Pooler
		again.MaskToken = c.MaskToken
		if diff := cmp.Diff(normal(c.ViTConfig), normal(again.ViTConfig)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// normal removes differences that mean the same: an augmentation off at 0 or at its neutral value.
func normal(c nn.ViTConfig) nn.ViTConfig {
	for _, p := range []*float64{&c.RoPE.Jitter, &c.RoPE.Rescale} {
		if *p == 1 {
			*p = 0
		}
	}
	if c.Family == nn.FamilyDINOv3 {
		c.Interpolation = 0 // there is no table to resample
	}
	return c
}

func FuzzProcessor(f *testing.F) {
	for _, family := range []nn.Family{nn.FamilyViT, nn.FamilyDINOv2, nn.FamilyDINOv3} {
		raw, err := DefaultProcessor(nn.ViTConfig{Family: family, Channels: 3, ImageSize: 224}).Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p *Processor
		var err error
		alloctest.Limit(t, len(raw), 1<<20, 256, func() { p, err = ParseProcessor(raw, nn.FamilyDINOv2) })
		if err != nil {
			if !errors.Is(err, ErrProcessor) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		out, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseProcessor(out, nn.FamilyDINOv2); err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, out)
		}
	})
}

func FuzzAdapterConfig(f *testing.F) {
	for _, a := range peftFixtures {
		raw, err := os.ReadFile(filepath.Join("testdata", a.name, AdapterConfigFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"peft_type":"LORA","target_modules":".*(query|value)","rank_pattern":{"a.*":3},"alpha_pattern":{"b":1.5}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var c *AdapterConfig
		var err error
		// A regular expression of a few bytes, such as x{1000}, compiles to thousands of instructions.
		alloctest.Limit(t, len(raw), 4<<20, 1<<16, func() { c, err = ParseAdapterConfig(raw) })
		if err != nil {
			if !errors.Is(err, ErrAdapter) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		module := "encoder.layer.0.attention.attention.query"
		c.matches(nn.FamilyDINOv2, module)
		names := aliases(nn.FamilyDINOv2, module)
		firstMatch(c.RankPattern, names)
		firstMatch(c.AlphaPattern, names)
		out, err := MarshalAdapterConfig(c, nn.FamilyDINOv2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseAdapterConfig(out); err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, out)
		}
	})
}
