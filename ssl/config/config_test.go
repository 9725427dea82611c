package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRecipesLoad(t *testing.T) {
	for _, name := range Recipes() {
		c, err := Load(name)
		if err != nil {
			t.Errorf("recipe %s: %v", name, err)
			continue
		}
		if c.Train.ModelName != name {
			t.Errorf("recipe %s writes to run folder %s", name, c.Train.ModelName)
		}
	}
	if diff := cmp.Diff([]string{"dino", "dinov2", "dinov3", "fashion-mnist", "quickstart"}, Recipes()); diff != "" {
		t.Error(diff)
	}
}

func TestPrintedConfigurationReadsBack(t *testing.T) {
	for _, name := range append(Recipes(), "") {
		want, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, docs := range []bool{false, true} {
			got, err := Parse("printed.yaml", want.YAML(docs))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, docs %v: %s", name, docs, diff)
			}
		}
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range fields(Default()) {
		if f.tag.Get("doc") == "" || f.tag.Get("json") == "" {
			t.Errorf("%s has no doc or json tag", f.path)
		}
		if seen[f.path] {
			t.Errorf("%s is declared twice", f.path)
		}
		seen[f.path] = true
	}
	for path := range decisions {
		if !seen[path] {
			t.Errorf("decision on %s, which is no key", path)
		}
	}
}

// The released defaults of DINO-MX that a file without the key must get.
func TestDefaultsAreTheReleasedValues(t *testing.T) {
	c, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	got := string(c.YAML(false))
	for _, want := range []string{
		"model_type: facebook/dinov2-with-registers-base", "global_batch_size: 64", "max_iterations: 60000",
		"clip_grad: 3", "freeze_last_layer: 100", "warmup_iterations: 10000", "teacher_temp: 0.04",
		"warmup_teacher_temp_iterations: 500", "student_temp: 0.1", "center_momentum: 0.9", "centering: centering",
		"momentum_teacher: 0.9992", "lr: 0.0001", "min_lr: 1e-05", "weight_decay: 0.04", "weight_decay_end: 0.4",
		"global_crops_scale: [0.4, 1]", "local_crops_scale: [0.05, 0.4]", "local_crops_number: 6",
		"local_crops_size: 98", "mask_ratio_min_max: [0.1, 0.5]", "PCA_component: 3", "seed: 42",
		"lora_r: 8", "lora_alpha: 16", "lora_dropout: 0.1", "main_output: outputs", "log_dir: log_files",
		"hidden_size: 768", "num_register_tokens: 4",
	} {
		if !strings.Contains(got, " "+want+"\n") {
			t.Errorf("no line %q", want)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		override   string
		want       string
	}{
		{"unknown key", "train:\n  lr: 0.1\n  warmup_iteration: 5\n", "", "run.yaml:3: train.warmup_iteration: unknown key; did you mean train.warmup_iterations?"},
		{"key of another section", "train:\n  out_dim: 5\n", "", "run.yaml:2: train.out_dim: unknown key; did you mean dino_head.out_dim or ibot.out_dim?"},
		{"unknown section", "trian:\n  lr: 0.1\n", "", "run.yaml:1: trian: unknown key; did you mean train:?"},
		{"another program's rate", "train:\n  learning_rate: 0.1\n", "", "run.yaml:2: train.learning_rate: unknown key; did you mean train.lr?"},
		{"another program's batch", "batch_size: 8\n", "", "run.yaml:1: batch_size: unknown key; did you mean train.global_batch_size?"},
		{"another program's batch in a section", "train:\n  batch_size: 8\n", "", "run.yaml:2: train.batch_size: unknown key; did you mean train.global_batch_size?"},
		{"misspelt bare key", "max_iteration: 8\n", "", "run.yaml:1: max_iteration: unknown key; did you mean train.max_iterations?"},
		{"refused key", "train:\n  use_lora: true\n", "", "run.yaml:2: train.use_lora: true: this version does not train adapters; set train.use_lora=false"},
		{"bare key", "lr: 0.1\n", "", "run.yaml:1: lr: unknown key; did you mean train.lr?"},
		{"repeated key", "train:\n  lr: 0.1\n  lr: 0.2\n", "", `run.yaml:3: not valid YAML: key "lr" already set in map; correct the file`},
		{"text for a number", "train:\n  lr: fast\n", "", `run.yaml:2: train.lr: "fast": expected a number above 0 and at most 100; the default is 0.0001`},
		{"float for an integer", "train:\n  max_iterations: 10.5\n", "", "run.yaml:2: train.max_iterations: 10.5: expected a whole number from 1 to 1000000000; the default is 60000"},
		{"number for text", "train:\n  model_name: 2024\n", "", "run.yaml:2: train.model_name: 2024: expected text; the default is test_dinov2"},
		{"section as a value", "train: 5\n", "", "run.yaml:1: train: 5: expected the keys of this section; indent them below train:"},
		{"list of the wrong length", "crops:\n  global_crops_scale: [0.1, 0.2, 0.3]\n", "", "run.yaml:2: crops.global_crops_scale: [0.1, 0.2, 0.3]: expected two numbers [low, high] above 0 and at most 1; the default is [0.4, 1]"},
		{"descending pair", "crops:\n  global_crops_scale: [0.9, 0.2]\n", "", "run.yaml:2: crops.global_crops_scale: [0.9, 0.2]: expected two numbers [low, high] above 0 and at most 1; the default is [0.4, 1]"},
		{"unknown centering", "train:\n  centering: sinkhorn\n", "", "run.yaml:2: train.centering: sinkhorn: expected centering or sinkhorn_knopp; the default is centering"},
		{"misspelt choice", "train:\n  centering: centring\n", "", "run.yaml:2: train.centering: centring: expected centering or sinkhorn_knopp; did you mean centering?"},
		{"crop no multiple of patch", "crops:\n  local_crops_size: 96\n", "", "run.yaml:2: crops.local_crops_size: 96: expected a multiple of the patch size 14; set crops.local_crops_size=98"},
		{"warm-up longer than run", "train:\n  max_iterations: 500\n", "", "run.yaml: train.warmup_iterations: 10000: expected less than train.max_iterations (500); set train.warmup_iterations=50, or a longer run"},
		{"shared head", "ibot:\n  loss_weight: 1\n  out_dim: 4096\n", "", "run.yaml:3: ibot.out_dim: 4096: expected dino_head.out_dim (65536), because the head is shared; set ibot.out_dim=65536, or train.ibot_separate_head=true"},
		{"global crops", "crops:\n  global_crops_number: 3\n", "", "run.yaml:2: crops.global_crops_number: 3: expected a whole number equal to 2; the default is 2"},
		{"unknown model", "train:\n  model_type: dinov2-bas\n", "", "run.yaml:2: train.model_type: dinov2-bas: unknown model; did you mean facebook/dinov2-base?"},
		{"two documents", "train:\n  lr: 0.1\n---\ntrain: {}\n", "", "run.yaml:3: expected one YAML document; remove the line ---, or put the second document in a file of its own"},
		{"not YAML", "train: [1, 2\n", "", "run.yaml:1: not valid YAML: did not find expected ',' or ']'; correct the file"},
		{"empty", "\n", "", "run.yaml: expected sections such as train: and crops:, found nothing; see dmx config show for a complete file"},
		{"a list", "- 1\n", "", "run.yaml: expected sections such as train: and crops:, found [1]; see dmx config show for a complete file"},
		{"folder name", "train:\n  model_name: ../x\n", "", "run.yaml:2: train.model_name: \"../x\": expected the name of a folder, without slashes; set train.model_name=my_run"},
		{"same folder twice", "output_folders:\n  log_dir: training_samples\n", "", "run.yaml:2: output_folders.log_dir: training_samples: expected a name of its own, output_folders.training_samples_dir has it already; choose another name"},
		{"override without value", "train: {}\n", "train.lr", `command line: "train.lr": expected key=value; for example train.lr=0.001`},
		{"override of an unknown key", "train: {}\n", "train.rl=1", "command line: train.rl: unknown key; did you mean train.lr?"},
		{"override of the wrong type", "train: {}\n", "train.lr=big", `command line: train.lr: "big": expected a number above 0 and at most 100; the default is 0.0001`},
		{"override that is not YAML", "train: {}\n", "train.lr=[", `command line: train.lr: "[": expected a number above 0 and at most 100; the default is 0.0001`},
		{"infinite number", "train:\n  clip_grad: .inf\n", "", `run.yaml: not valid YAML`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var overrides []string
			if c.override != "" {
				overrides = []string{c.override}
			}
			_, err := Parse("run.yaml", []byte(c.yaml), overrides...)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestEveryMistakeIsReported(t *testing.T) {
	_, err := Parse("run.yaml", []byte("train:\n  lr: -1\n  clip_grad: -3\nwatch:\n  every: 0\n"))
	errs, ok := err.(Errors)
	if !ok || len(errs) != 3 {
		t.Fatalf("got %v", err)
	}
}

func TestOverridesAndYAML11(t *testing.T) {
	c, err := Parse("run.yaml", []byte("distribution:\n  mixed_precision: no\ntrain:\n  use_pretrained: False\n  checkpoint_path: null\n  max_iterations: 1e5\n"),
		"train.lr=1e-3", "crops.global_crops_scale=[0.2, 0.9]", "train.model_name=2024", "dataset.dataset_path=/data/a: b",
		"dataset.mean=[0.5]", "dataset.std=[0.5]", "augment.blur_mode=off")
	if err != nil {
		t.Fatal(err)
	}
	if c.Distribution.MixedPrecision != "no" || c.Train.UsePretrained || c.Train.MaxIterations != 100000 || c.Train.LR != 1e-3 ||
		c.Crops.GlobalCropsScale != (Pair{.2, .9}) || c.Train.ModelName != "2024" || c.Dataset.Path != "/data/a: b" || c.Augment.BlurMode != "off" {
		t.Errorf("%s", c.YAML(false))
	}
}

func TestRandomSeedIsResolved(t *testing.T) {
	a, err := Load("quickstart", "train.seed=random")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Load("quickstart", "train.seed=random")
	if err != nil {
		t.Fatal(err)
	}
	if a.Train.Seed == b.Train.Seed {
		t.Errorf("the same seed %d twice", a.Train.Seed)
	}
	got, err := Parse("stored", a.YAML(true))
	if err != nil || got.Train.Seed != a.Train.Seed {
		t.Errorf("stored seed %v, %v; want %d", got, err, a.Train.Seed)
	}
}

func TestKnownModelShapes(t *testing.T) {
	for _, id := range KnownModels() {
		c, err := Load("", "train.model_type="+id, "crops.global_crops_size=224", "crops.local_crops_size=112", "dataset.mean=[0.5]", "dataset.std=[0.5]")
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		if grey := strings.HasPrefix(id, "CardViT"); (c.Model.NumChannels == 1) != grey {
			t.Errorf("%s has %d channels", id, c.Model.NumChannels)
		}
	}
	c, err := Load("", "train.model_type=facebook/dinov2-giant", "model.num_channels=1", "dataset.mean=[0.5]", "dataset.std=[0.5]")
	if err != nil {
		t.Fatal(err)
	}
	want := Model{HiddenSize: 1536, NumHiddenLayers: 40, NumAttentionHeads: 24, MLPRatio: 4, PatchSize: 14, ImageSize: 518,
		NumChannels: 1, LayerScaleValue: 1, LayerNormEps: 1e-6, QKVBias: true, KeyBias: true, UseSwiGLUFFN: true}
	if diff := cmp.Diff(want, c.Model); diff != "" {
		t.Error(diff)
	}
}

func TestMissingFileNamesTheRecipes(t *testing.T) {
	_, err := Load("quickstar")
	if err == nil || !strings.Contains(err.Error(), "did you mean the recipe quickstart?") {
		t.Errorf("got %v", err)
	}
	_, err = Load(filepath.Join(t.TempDir(), "run.yaml"))
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
	if _, err = Load(t.TempDir()); err == nil {
		t.Error("a folder was read as a configuration")
	}
}

func TestLargeFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data.yaml")
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "at most 1 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestDiff(t *testing.T) {
	a, b := Default(), Default()
	b.Train.LR, b.Crops.LocalCropsNumber = .5, 4
	if diff := cmp.Diff([]string{"train.lr: 0.0001 -> 0.5", "crops.local_crops_number: 6 -> 4"}, Diff(a, b)); diff != "" {
		t.Error(diff)
	}
}

func TestIneffectiveKeysAreListed(t *testing.T) {
	c, err := Load("quickstart", "distribution.type=fsdp", "lora_config.lora_r=8")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"distribution.type=fsdp (this version trains on one rank)"}, c.Ineffective()); diff != "" {
		t.Error(diff)
	}
	if text := string(c.YAML(true)); !strings.Contains(text, "# accepted without effect: this version trains on one rank\n  type: fsdp\n") {
		t.Error("the printed documentation does not say that distribution.type has no effect")
	}
}

func TestSynonymsLeadToKeys(t *testing.T) {
	known := newReader().byPath
	for word, key := range synonyms {
		if _, ok := known[key]; !ok {
			t.Errorf("%s leads to %s, which is no key", word, key)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range Recipes() {
		text, err := recipes.ReadFile("recipes/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("fuzz.yaml", text)
		if err != nil {
			return
		}
		if _, err := Parse("printed.yaml", c.YAML(true)); err != nil {
			t.Errorf("accepted, but what it prints is not: %v", err)
		}
	})
}

// The advice on heads fits the width: 65 channels are not one head of 64.
func TestHeadsAdvice(t *testing.T) {
	for width, want := range map[int]string{
		65:  "set model.hidden_size=64 for heads of 64 channels",
		384: "use 6 heads of 64 channels",
		100: "set model.hidden_size=128 for heads",
		10:  "set model.hidden_size=64",
	} {
		if got := headsFor(width); !strings.Contains(got, want) {
			t.Errorf("%d: %s, want %q", width, got, want)
		}
	}
}
