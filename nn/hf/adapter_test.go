package hf

import (
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

// peftFixtures are adapters by PEFT. Those that are reworded lose nothing when they are written again, but do not keep
// their wording: modules are listed in full where the original says blocks, and a classifier is left out.
var peftFixtures = []struct {
	name, base string
	reworded   bool
}{
	{"peft-vit", "vit", false}, {"peft-dinov2", "dinov2", false}, {"peft-dinov3", "dinov3", false},
	{"peft-patch", "dinov2-registers", false}, {"peft-pissa", "dinov2", false}, {"peft-olora", "dinov3", false},
	{"peft-layers", "dinov3", true}, {"peft-classifier", "dinov2", true},
}

func applyAdapter(t *testing.T, b nn.Builder, v *nn.ViT, dir string) ([]*nn.Adapter, *Adapter) {
	t.Helper()
	a, err := OpenAdapter(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	adapters, _, err := a.Apply(b, v)
	if err != nil {
		t.Fatal(err)
	}
	return adapters, a
}

// Adapters made by peft give peft's outputs, merged, unmerged and taken off again; written by us and read back they
// are the same bits.
func TestAdapterParity(t *testing.T) {
	for _, tt := range peftFixtures {
		t.Run(tt.name, func(t *testing.T) {
			f, b := openFixture(t, tt.name), newBuilder(t, false)
			v, _ := loadModel(t, b, tt.base, OpenOptions{})
			adapters, a := applyAdapter(t, b, v, filepath.Join("testdata", tt.name))
			pixels, want := f.get("native.pixels"), f.get("native.tokens")
			_, out := run(t, b, v, pixels, nil, nn.Options{})
			check(t, "unmerged", out.Tokens.Value, want, 1e-5)
			for _, x := range adapters {
				x.Merge(b.Backend)
			}
			_, out = run(t, b, v, pixels, nil, nn.Options{})
			check(t, "merged", out.Tokens.Value, want, 1e-5)
			for _, x := range adapters {
				x.Unmerge(b.Backend)
			}
			_, out = run(t, b, v, pixels, nil, nn.Options{})
			check(t, "unmerged again", out.Tokens.Value, want, 1e-5)

			before, err := safetensors.Open(filepath.Join("testdata", tt.name, AdapterFile))
			if err != nil {
				t.Fatal(err)
			}
			defer before.Close()
			for _, names := range []AdapterNames{AdapterNames5, AdapterNames4} {
				dir := t.TempDir()
				if err := SaveAdapter(dir, b, v, a.Config, names); err != nil {
					t.Fatal(err)
				}
				after, err := safetensors.Open(filepath.Join(dir, AdapterFile))
				if err != nil {
					t.Fatal(err)
				}
				if names == AdapterNames5 && !tt.reworded {
					if diff := cmp.Diff(readAll(t, before), readAll(t, after)); diff != "" {
						t.Error(diff)
					}
				}
				after.Close()
				again, _ := loadModel(t, b, tt.base, OpenOptions{})
				_, read := applyAdapter(t, b, again, dir)
				_, out = run(t, b, again, pixels, nil, nn.Options{})
				check(t, "written and read", out.Tokens.Value, want, 1e-5)
				if names == AdapterNames5 && !tt.reworded {
					if diff := cmp.Diff(a.Config, read.Config); diff != "" {
						t.Error(diff)
					}
				}
			}
		})
	}
}

// A zero B changes nothing, to the bit.
func TestZeroAdapterIsNoOp(t *testing.T) {
	f, b := openFixture(t, "dinov2"), newBuilder(t, false)
	v, _ := loadModel(t, b, "dinov2", OpenOptions{})
	pixels := f.get("native.pixels")
	_, before := run(t, b, v, pixels, nil, nn.Options{})
	cfg := &AdapterConfig{Rank: 4, Alpha: 8, Targets: []string{"query", "value"}}
	if _, err := b.AddLoRA(v, cfg.LoRA(v)); err != nil {
		t.Fatal(err)
	}
	v.Params.Init(b.Backend, 1, func(p *nn.Param) bool { return isAdapterTensor(p.Name) })
	_, after := run(t, b, v, pixels, nil, nn.Options{})
	if maxError(after.Tokens.Value, before.Tokens.Value) != 0 {
		t.Error("an adapter with B = 0 changed the output")
	}
}

func TestAdapterTargets(t *testing.T) {
	vit, v2, v3 := nn.FamilyViT, nn.FamilyDINOv2, nn.FamilyDINOv3
	tests := []struct {
		config string
		family nn.Family
		module string
		want   bool
	}{
		{`"target_modules":["query"]`, vit, "encoder.layer.0.attention.attention.query", true},
		{`"target_modules":["q_proj"]`, vit, "encoder.layer.0.attention.attention.query", true},
		{`"target_modules":["query"]`, v3, "layer.0.attention.q_proj", false},
		{`"target_modules":["dense"]`, vit, "encoder.layer.3.intermediate.dense", true},
		{`"target_modules":["dense"]`, v2, "encoder.layer.3.mlp.fc1", false},
		{`"target_modules":["fc1"]`, vit, "encoder.layer.3.intermediate.dense", true},
		{`"target_modules":".*layer.[01].*q_proj"`, v3, "layer.1.attention.q_proj", true},
		{`"target_modules":".*layer.[01].*q_proj"`, v3, "layer.2.attention.q_proj", false},
		{`"target_modules":["query"],"exclude_modules":["layer.0.attention.attention.query"]`, v2, "encoder.layer.0.attention.attention.query", false},
		{`"target_modules":["query","key"],"exclude_modules":".*key"`, v2, "encoder.layer.0.attention.attention.key", false},
		{`"target_modules":["query"],"layers_to_transform":1`, v2, "encoder.layer.1.attention.attention.query", true},
		{`"target_modules":["query"],"layers_to_transform":[1]`, v2, "encoder.layer.11.attention.attention.query", false},
		{`"target_modules":["q_proj"],"layers_to_transform":[1],"layers_pattern":"layers"`, vit, "encoder.layer.1.attention.attention.query", true},
		{`"target_modules":["query"],"layers_to_transform":[1],"layers_pattern":["x","h"]`, v2, "encoder.layer.1.attention.attention.query", false},
		{`"target_modules":["q_proj","fc1"],"modules_to_save":["mlp"]`, v2, "encoder.layer.0.mlp.fc1", false},
		{`"target_modules":"all-linear"`, v2, "encoder.layer.0.mlp.fc1", true},
		{`"target_modules":"all-linear"`, v2, "embeddings.patch_embeddings.projection", false},
	}
	for _, tt := range tests {
		c, err := ParseAdapterConfig([]byte(`{"peft_type":"LORA",` + tt.config + `}`))
		if err != nil {
			t.Errorf("%s: %v", tt.config, err)
			continue
		}
		if got := c.matches(tt.family, tt.module); got != tt.want {
			t.Errorf("%s on %s: %v, want %v", tt.config, tt.module, got, tt.want)
		}
	}
}

func TestAdapterConfigRejects(t *testing.T) {
	base := `"peft_type":"LORA","target_modules":["query"]`
	for key, o := range offOptions {
		config := `{` + base + `,"` + key + `":{` + "\n" + `"x": 1}}`
		_, err := ParseAdapterConfig([]byte(config))
		if err == nil || !strings.Contains(err.Error(), key+` is {"x":1}`) || !strings.Contains(err.Error(), o.why) {
			t.Errorf("%s: %v", config, err)
		}
	}
	for config, want := range map[string]string{
		`{` + base + `,"layers_to_transform":[-1]}`:                           "layers_to_transform",
		`{` + base + `,"layers_pattern":"(","layers_to_transform":1}`:         "layers_pattern",
		`{` + base + `,"modules_to_save":["("]}`:                              "modules_to_save",
		`{"peft_type":"LORA","target_modules":"q","layers_to_transform":[1]}`: "layers_to_transform",
		`{` + base + `,"init_lora_weights":"pissa_niter_4"}`:                  "init_lora_weights is pissa_niter_4",
		`{` + base + `,"init_lora_weights":"corda"}`:                          "path_initial_model_for_weight_conversion",
		`{` + base + `,"init_lora_weights":"loftq"}`:                          "changed the base weights",
		`{` + base + `,"init_lora_weights":"lora_ga"}`:                        "changed the base weights",
		`{` + base + `,"init_lora_weights":"new"}`:                            "init_lora_weights",
		`{` + base + `,"use_something_new":true}`:                             "use_something_new is true",
		`{}`: "peft_type", `{"peft_type":"IA3"}`: "IA3",
		`{"peft_type":"LORA"}`:                       "target_modules is missing",
		`{` + base + `,"use_dora":true}`:             "use_dora",
		`{` + base + `,"lora_bias":true}`:            "lora_bias",
		`{` + base + `,"target_parameters":["x"]}`:   "target_parameters",
		`{` + base + `,"r":0}`:                       "r is 0",
		`{` + base + `,"r":1e12}`:                    "r is",
		`{` + base + `,"bias":"some"}`:               "lora_only",
		`{` + base + `,"lora_dropout":1}`:            "lora_dropout",
		`{` + base + `,"rank_pattern":{"(":4}}`:      "regular expression",
		`{` + base + `,"rank_pattern":{"x":"y"}}`:    "rank_pattern",
		`{` + base + `,"rank_pattern":{"x":null}}`:   "x is null",
		`{` + base + `,"alpha_pattern":{"x":null}}`:  "x is null",
		`{"peft_type":"LORA","target_modules":"("}`:  "regular expression",
		`{"peft_type":"LORA","peft_type":"LORA"}`:    "occurs twice",
		`{"peft_type":"LORA","target_modules":1}`:    "target_modules",
		`{"peft_type":"LORA","target_modules":null}`: "target_modules is missing",
		`[]`: "not a JSON object",
	} {
		if _, err := ParseAdapterConfig([]byte(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}

// A tensor without its module, a module without its tensors, and a rank that contradicts the config are errors.
func TestAdapterIsStrict(t *testing.T) {
	config := func(extra string) string {
		return `{"peft_type":"LORA","r":2,"lora_alpha":2,"target_modules":["query"]` + extra + `}`
	}
	pair := func(m map[string][]int, module string, r int) {
		m["base_model.model."+module+".lora_A.weight"] = []int{r, 24}
		m["base_model.model."+module+".lora_B.weight"] = []int{24, r}
	}
	query := func(i string) string { return "encoder.layer." + i + ".attention.attention.query" }
	for _, tt := range []struct {
		name, config, want string
		build              func(m map[string][]int)
	}{
		{"good", config(""), "", func(m map[string][]int) { pair(m, query("0"), 2); pair(m, query("1"), 2) }},
		{"module without tensors", config(""), "missing: encoder.layer.1", func(m map[string][]int) { pair(m, query("0"), 2) }},
		{"tensor without module", config(""), "no such module", func(m map[string][]int) { pair(m, query("0"), 2); pair(m, query("1"), 2); pair(m, query("7"), 2) }},
		{"other rank", config(""), "rank 3 in the tensors and 2 in the config", func(m map[string][]int) { pair(m, query("0"), 2); pair(m, query("1"), 3) }},
		{"unknown prefix", config(""), "does not begin with", func(m map[string][]int) { pair(m, query("0"), 2); pair(m, query("1"), 2); m["x"] = []int{1} }},
		{"wrapped by torch.compile", config(""), "", func(m map[string][]int) {
			for _, i := range []string{"0", "1"} {
				m["_orig_mod.base_model.model.encoder.layer."+i+"._orig_mod.attention.attention.query.lora_A.default.weight"] = []int{2, 24}
				m["_orig_mod.base_model.model.encoder.layer."+i+"._orig_mod.attention.attention.query.lora_B.default.weight"] = []int{24, 2}
			}
		}},
		{"a classifier", config(`,"modules_to_save":["classifier"]`), "", func(m map[string][]int) {
			pair(m, query("0"), 2)
			pair(m, query("1"), 2)
			m["base_model.model.classifier.weight"] = []int{2, 24}
		}},
		{"a classifier that nobody announced", config(""), "no such module", func(m map[string][]int) {
			pair(m, query("0"), 2)
			pair(m, query("1"), 2)
			m["base_model.model.classifier.weight"] = []int{2, 24}
		}},
		{"a saved module without its tensors", config(`,"modules_to_save":["layernorm"]`), "missing: layernorm.weight", func(m map[string][]int) {
			pair(m, query("0"), 2)
			pair(m, query("1"), 2)
		}},
		{"a start of too high a rank", `{"peft_type":"LORA","r":25,"lora_alpha":2,"target_modules":["query"],"init_lora_weights":"olora"}`,
			"rank 25", func(m map[string][]int) { pair(m, query("0"), 25); pair(m, query("1"), 25) }},
		{"a start of a convolution", `{"peft_type":"LORA","r":2,"lora_alpha":2,"target_modules":["projection"],"init_lora_weights":"pissa"}`,
			"is a convolution", func(m map[string][]int) {
				m["base_model.model.embeddings.patch_embeddings.projection.lora_A.weight"] = []int{2, 3, 14, 14}
				m["base_model.model.embeddings.patch_embeddings.projection.lora_B.weight"] = []int{24, 2, 1, 1}
			}},
		{"a full weight", config(""), "no such module", func(m map[string][]int) {
			pair(m, query("0"), 2)
			pair(m, query("1"), 2)
			m["base_model.model.layernorm.weight"] = []int{24}
		}},
		{"wrong width", config(""), "wrong shape", func(m map[string][]int) {
			pair(m, query("0"), 2)
			pair(m, query("1"), 2)
			m["base_model.model."+query("1")+".lora_A.weight"] = []int{2, 23}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			shapes := map[string][]int{}
			tt.build(shapes)
			var tensors []safetensors.Tensor
			for name, s := range shapes {
				tensors = append(tensors, safetensors.FromTensor(name, tensor.Zeros(tensor.F32, s...)))
			}
			if err := safetensors.WriteFile(filepath.Join(dir, AdapterFile), nil, tensors); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, AdapterConfigFile), []byte(tt.config), 0o644); err != nil {
				t.Fatal(err)
			}
			b := newBuilder(t, false)
			v, _ := loadModel(t, b, "dinov2", OpenOptions{})
			a, err := OpenAdapter(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			_, _, err = a.Apply(b, v)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// The scale of a module follows the patterns and rsLoRA.
func TestAdapterScale(t *testing.T) {
	c, err := ParseAdapterConfig([]byte(`{"peft_type":"LORA","r":4,"lora_alpha":8,"use_rslora":true,"target_modules":["query","value"],
		"rank_pattern":{"layer.1.*query":2},"alpha_pattern":{"value":3.5}}`))
	if err != nil {
		t.Fatal(err)
	}
	b := newBuilder(t, false)
	v, _ := loadModel(t, b, "dinov2", OpenOptions{})
	adapters, err := b.AddLoRA(v, c.LoRA(v))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"encoder.layer.0.attention.attention.query": 8 / math.Sqrt(4), "encoder.layer.0.attention.attention.value": 3.5 / math.Sqrt(4),
		"encoder.layer.1.attention.attention.query": 8 / math.Sqrt(2), "encoder.layer.1.attention.attention.value": 3.5 / math.Sqrt(4),
	}
	for _, a := range adapters {
		if w, ok := want[a.Module]; !ok || math.Abs(a.Scale-w) > 1e-12 {
			t.Errorf("%s: scale %g, want %g", a.Module, a.Scale, w)
		}
		delete(want, a.Module)
	}
	if len(want) > 0 {
		t.Errorf("not adapted: %v", want)
	}
}

// Extracting an adapter of sufficient rank from a merged model gives that model back.
func TestExtract(t *testing.T) {
	b := newBuilder(t, false)
	v, base := loadModel(t, b, "dinov2-registers", OpenOptions{})
	adapters, _ := applyAdapter(t, b, v, filepath.Join("testdata", "peft-patch"))
	for _, a := range adapters {
		a.Merge(b.Backend)
	}
	dir := t.TempDir()
	if err := Save(dir, v, b.Backend, base.Config, base.Processor, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	tuned, err := Open(dir, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tuned.Close()
	f := openFixture(t, "peft-patch")
	for _, tt := range []struct {
		rank    int
		lost    float64
		targets []string
		outside int
	}{{2, 1e-9, []string{"projection", "key"}, 0}, {1, 1, []string{"projection", "key"}, 0}, {2, 1e-9, []string{"key"}, 1}} {
		cfg := &AdapterConfig{Rank: tt.rank, Targets: tt.targets}
		e, err := Extract(base, tuned, cfg, AdapterNames4)
		if err != nil {
			t.Fatal(err)
		}
		for m, lost := range e.Lost {
			if lost > tt.lost || tt.rank == 1 && lost < 1e-3 {
				t.Errorf("rank %d: %s loses %g", tt.rank, m, lost)
			}
		}
		if len(e.Outside) != tt.outside {
			t.Errorf("outside the targets: %v", e.Outside)
		}
		if tt.outside > 0 || tt.rank == 1 {
			continue
		}
		out := t.TempDir()
		if err := e.Save(out, cfg, base.Config.Family); err != nil {
			t.Fatal(err)
		}
		w, _ := loadModel(t, b, "dinov2-registers", OpenOptions{})
		applyAdapter(t, b, w, out)
		_, got := run(t, b, w, f.get("native.pixels"), nil, nn.Options{})
		check(t, "extracted", got.Tokens.Value, f.get("native.tokens"), 1e-5)
	}
}
