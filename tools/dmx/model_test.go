package main

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dino-mx/dmx/nn/hf/pth"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// modelDir is the room whose fixtures these tests read.
const modelDir = "../../nn/hf/testdata/"

func TestModelInspect(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"dinov2-registers"}, 0, []string{"dinov2_with_registers (hf tensor names)", "CLS, 4 registers", "38 tensors loaded", "loaded      embeddings.register_tokens"}},
		{[]string{"dinov3-gated"}, 0, []string{"rotary, theta 100", "MLP gated 48 with silu"}},
		{[]string{"dinov3-gated-gelu"}, 0, []string{"MLP gated 48 with gelu"}},
		{[]string{"vit"}, 0, []string{"and a pooler of 600\n"}},
		{[]string{"meta-dinov2-chunked/checkpoint.pth", "--heads", "2"}, 0, []string{"bicubic by scale factor with offset", "taken to have the activation gelu"}},
		{[]string{"meta-dinov2-chunked/checkpoint.pth"}, 0, []string{"taken to have 1 attention heads (one for 64 channels, unless --heads"}},
		{[]string{"timm-uni2"}, 0, []string{"dinov2_with_registers (timm tensor names)", "8 registers", "from reg_token", "bicubic with antialias"}},
		{[]string{"meta-dino/checkpoint.pth", "--heads", "2"}, 0, []string{"vit (dino tensor names under teacher.backbone.)", "2 heads", "a head, not part of the trunk", "not a tensor but the number 3"}},
		{[]string{"meta-dino/checkpoint.pth", "--branch", "student"}, 0, []string{"under student.module.backbone."}},
		{[]string{"peft-vit"}, 1, []string{"a PEFT adapter, not a model"}},
		{[]string{"nowhere/at/all"}, 1, []string{"neither an existing file or folder nor a Hugging Face id"}},
	} {
		code, out, errOut := dmx(t, append([]string{"model", "inspect", modelDir + c.args[0]}, c.args[1:]...)...)
		if code != c.code {
			t.Errorf("%v: exit code %d: %s", c.args, code, errOut)
		}
		for _, w := range c.want {
			if !strings.Contains(out+errOut, w) {
				t.Errorf("%v: output lacks %q:\n%.1500s%s", c.args, w, out, errOut)
			}
		}
	}
}

// To every naming and back: nothing differs.
func TestModelConvertThereAndBack(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		model, to, file string
		back            []string
	}{
		{"vit", "dino", "v1.pth", []string{"--heads", "2", "--interpolation", "size"}},
		{"dinov2", "dinov2", "v2.pth", []string{"--heads", "2", "--interpolation", "size"}},
		{"dinov2-registers-swiglu", "dinov2", "v2.safetensors", []string{"--heads", "2"}},
		{"dinov3-gated", "dinov3", "v3.safetensors", []string{"--heads", "2"}},
		{"dinov3", "timm", "v3.pth", []string{"--heads", "2"}},
		{"dinov2-swiglu", "timm", "t.safetensors", []string{"--heads", "2", "--interpolation", "size"}},
	} {
		file, again := filepath.Join(dir, c.file), filepath.Join(dir, c.model)
		if code, _, errOut := dmx(t, "model", "convert", modelDir+c.model, "--to", c.to, "--out", file); code != 0 {
			t.Errorf("%s to %s: %s", c.model, c.to, errOut)
			continue
		}
		if code, _, errOut := dmx(t, append([]string{"model", "convert", file, "--to", "hf", "--out", again}, c.back...)...); code != 0 {
			t.Errorf("%s back from %s: %s", c.model, c.to, errOut)
			continue
		}
		_, out, _ := dmx(t, "model", "diff", modelDir+c.model, again)
		for _, line := range strings.Split(out, "\n") {
			ok := line == "" || strings.Contains(line, "same bits") || strings.HasPrefix(strings.TrimSpace(line), "tensor ") ||
				// What a naming has no place for: unused tensors and what the tensors cannot tell.
				strings.Contains(line, "pooler.dense") || strings.Contains(line, "mask_token") || strings.HasPrefix(line, "layer_norm_eps") || strings.HasPrefix(line, "image_size")
			if !ok {
				t.Errorf("%s by way of %s: %s", c.model, c.to, line)
			}
		}
	}
}

func TestModelConvertOptions(t *testing.T) {
	dir := t.TempDir()
	code, _, errOut := dmx(t, "model", "convert", modelDir+"dinov2", "--to", "hf", "--out", dir, "--dtype", "bf16", "--channels", "1")
	if code != 0 {
		t.Fatal(errOut)
	}
	_, out, _ := dmx(t, "model", "inspect", dir)
	for _, w := range []string{"input          1 channels", "BF16, 0.0 MB", "mean [0.449]"} {
		if !strings.Contains(out, w) {
			t.Errorf("output lacks %q:\n%s", w, out)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil || m["torch_dtype"] != "bfloat16" || m["num_channels"] != 1.0 {
		t.Errorf("config: %v, %s", err, raw)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--to", "dinov3", "--out", dir + "/x.pth"}, 1, "another architecture"},
		{[]string{"--to", "dino", "--out", dir}, 2, "--out"},
		{[]string{"--to", "hf", "--out", dir + "/x.pth"}, 2, "written to a folder"},
		{[]string{"--to", "keras", "--out", dir}, 2, "--to"},
	} {
		code, _, errOut := dmx(t, append([]string{"model", "convert", modelDir + "dinov2"}, c.args...)...)
		if code != c.code || !strings.Contains(errOut, c.want) {
			t.Errorf("%v: exit code %d: %s", c.args, code, errOut)
		}
	}
}

func TestModelDiff(t *testing.T) {
	if code, out, _ := dmx(t, "model", "diff", modelDir+"vit", modelDir+"vit"); code != 0 || !strings.Contains(out, "42 of 42 tensors") && !strings.Contains(out, "are the same bits") {
		t.Errorf("a model and itself: %d\n%s", code, out)
	}
	code, out, errOut := dmx(t, "model", "diff", modelDir+"dinov2", modelDir+"dinov2-registers")
	if code != 1 || !strings.Contains(errOut, "the models differ") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	for _, w := range []string{"family: dinov2 and dinov2_with_registers", "patch_size: 14 and 16", "only in " + modelDir + "dinov2-registers", "[24 3 14 14] and [24 3 16 16]"} {
		if !strings.Contains(out, w) {
			t.Errorf("output lacks %q:\n%s", w, out)
		}
	}
}

// A merged adapter taken out of the model again is the same function.
func TestAdapterMergeAndExtract(t *testing.T) {
	dir := t.TempDir()
	merged, adapter, again := filepath.Join(dir, "merged"), filepath.Join(dir, "adapter"), filepath.Join(dir, "again")
	steps := [][]string{
		{"adapter", "merge", modelDir + "dinov3", modelDir + "peft-dinov3", "--out", merged},
		{"adapter", "extract", modelDir + "dinov3", merged, "--rank", "4", "--target-modules", "q_proj,v_proj,o_proj", "--out", adapter},
		{"adapter", "merge", modelDir + "dinov3", adapter, "--out", again},
	}
	for _, s := range steps {
		code, out, errOut := dmx(t, s...)
		if code != 0 {
			t.Fatalf("%v: %s", s, errOut)
		}
		if s[1] == "extract" && (!strings.Contains(out, "layer.1.attention.v_proj  ") || !strings.Contains(out, "100.00 %") || !strings.Contains(errOut, "are not in the adapter")) {
			t.Errorf("extract said\n%s%s", out, errOut)
		}
	}
	// The biases that peft-dinov3 trained are not low-rank; the weights are back to rounding.
	_, out, _ := dmx(t, "model", "diff", merged, again)
	for _, line := range strings.Split(out, "\n") {
		f := strings.Fields(line)
		if len(f) == 3 && strings.HasSuffix(f[0], "proj.weight") && f[2] > "1e-06" && !strings.Contains(f[2], "e-") {
			t.Errorf("after extraction: %s", line)
		}
	}
	if code, _, errOut := dmx(t, "adapter", "merge", modelDir+"vit", modelDir+"peft-dinov3", "--out", again); code != 1 || !strings.Contains(errOut, "no such module") {
		t.Errorf("an adapter of another model: %d, %s", code, errOut)
	}
}

// A merge says what it leaves out and what the adapter's config says about another base.
func TestAdapterMergeNotes(t *testing.T) {
	out := t.TempDir()
	code, _, errOut := dmx(t, "adapter", "merge", modelDir+"dinov2", modelDir+"peft-classifier", "--out", out)
	if code != 0 || !strings.Contains(errOut, "left out base_model.model.classifier.weight: a module of modules_to_save") ||
		strings.Contains(errOut, "note:") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	other := filepath.Join(t.TempDir(), "other")
	if code, _, errOut := dmx(t, "model", "convert", modelDir+"dinov2-registers", "--to", "hf", "--out", other); code != 0 {
		t.Fatal(errOut)
	}
	code, _, errOut = dmx(t, "adapter", "merge", other, modelDir+"peft-dinov2", "--out", out)
	for _, w := range []string{"was trained on ./dinov2, and is put on " + other, "a dinov2 model, and " + other + " is a dinov2_with_registers model"} {
		if !strings.Contains(errOut, w) {
			t.Errorf("exit code %d, the messages lack %q: %s", code, w, errOut)
		}
	}
}

// A checkpoint with two trunks is read by every command that takes a model, with the same options.
func TestBranchEverywhere(t *testing.T) {
	src, err := pth.Open(modelDir + "meta-dinov2-registers/checkpoint.pth")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var tensors []safetensors.Tensor
	for _, i := range src.Tensors() {
		tensors = append(tensors, safetensors.FromSource("backbone."+i.Name, src, i), safetensors.FromSource("momentum_backbone."+i.Name, src, i))
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "solo.safetensors")
	if err := safetensors.WriteFile(file, nil, tensors); err != nil {
		t.Fatal(err)
	}
	images := t.TempDir()
	for _, split := range []string{"train", "test"} {
		if err := os.Rename(pictures(t, 6), filepath.Join(images, split)); err != nil {
			t.Fatal(err)
		}
	}
	training := append([]string{"train", "--output", filepath.Join(dir, "run"), "--data", images}, micro...)
	for _, args := range [][]string{
		{"model", "inspect", file}, {"knn", "--checkpoint", file, "--data", images, "--k", "1"},
		{"embed", "--model", file, "--data", images, "--size", "28", "--out", filepath.Join(dir, "o.npy")},
		append(training, "train.checkpoint_path="+file, "crops.global_crops_size=28", "crops.local_crops_size=14", "evaluation.knn=false"),
	} {
		code, _, errOut := dmx(t, args...)
		if code != 1 || !strings.Contains(errOut, "choose one with --branch") {
			t.Errorf("%v: exit code %d: %s", args, code, errOut)
		}
		with := []string{"--branch", "momentum_backbone", "--heads", "2"}
		if args[0] == "train" {
			with = []string{"train.checkpoint_branch=momentum_backbone", "train.checkpoint_heads=2"}
		}
		if code, _, errOut := dmx(t, append(args, with...)...); code != 0 {
			t.Errorf("%v: exit code %d: %s", append(args, with...), code, errOut)
		}
	}
}

// A teacher whose bytes are not those of its manifest is refused by every command; knn on the run says that it takes an
// older one.
func TestDamagedTeacher(t *testing.T) {
	folder := trainMicro(t)
	data := filepath.Join(filepath.Dir(folder), "data")
	newest, older := filepath.Join(folder, "teacher_checkpoints", "iter_4"), filepath.Join(folder, "teacher_checkpoints", "iter_2")
	weights := filepath.Join(newest, "model.safetensors")
	b, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "o.npy")
	commands := [][]string{
		{"model", "inspect", newest}, {"model", "inspect", weights}, {"embed", "--model", newest, "--data", data, "--out", out},
		{"knn", "--checkpoint", newest, "--data", data, "--k", "1"},
		append([]string{"train", "--data", data, "--output", filepath.Join(t.TempDir(), "run"), "train.checkpoint_path=" + newest}, micro...),
	}
	for _, args := range commands[:4] {
		if code, _, errOut := dmx(t, args...); code != 0 && args[2] != weights {
			t.Errorf("%v: exit code %d: %s", args, code, errOut)
		}
	}
	b[len(b)-3] ^= 1
	if err := os.WriteFile(weights, b, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range commands {
		code, _, errOut := dmx(t, args...)
		if code != 1 || !strings.Contains(errOut, "model.safetensors was changed or damaged after it was written") {
			t.Errorf("%v: exit code %d: %s", args, code, errOut)
		}
	}
	code, stdout, errOut := dmx(t, "knn", "--checkpoint", folder, "--data", data, "--k", "1")
	if code != 0 || !strings.Contains(errOut, "taking the older "+older) || !strings.Contains(stdout, older) {
		t.Errorf("exit code %d: %s%s", code, errOut, stdout)
	}
}

// A weight that is not a number is named by every command that reads it.
func TestNonFiniteWeights(t *testing.T) {
	images := t.TempDir()
	for _, split := range []string{"train", "test"} {
		if err := os.Rename(pictures(t, 6), filepath.Join(images, split)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"encoder.layer.1.norm2.weight", "encoder.layer.0.mlp.fc1.weight"} {
		model := t.TempDir()
		if err := os.CopyFS(model, os.DirFS(modelDir+"dinov2")); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(model, "model.safetensors")
		src, err := safetensors.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		var tensors []safetensors.Tensor
		for _, i := range src.Tensors() {
			x, err := safetensors.ReadTensor(src, i.Name)
			if err != nil {
				t.Fatal(err)
			}
			if i.Name == name {
				x.Set(3, math.NaN())
			}
			tensors = append(tensors, safetensors.FromTensor(i.Name, x))
		}
		if err := errors.Join(src.Close(), safetensors.WriteFile(file, map[string]string{"format": "pt"}, tensors)); err != nil {
			t.Fatal(err)
		}
		out := t.TempDir()
		commands := [][]string{
			{"model", "inspect", model}, {"model", "convert", model, "--to", "hf", "--out", filepath.Join(out, "m")},
			{"adapter", "merge", model, modelDir + "peft-dinov2", "--out", filepath.Join(out, "a")},
			{"embed", "--model", model, "--data", images, "--size", "56", "--out", filepath.Join(out, "o.npy")},
		}
		for _, args := range append(commands, []string{"knn", "--checkpoint", model, "--data", images, "--k", "1"}) {
			code, _, errOut := dmx(t, args...)
			if code != 1 || !strings.Contains(errOut, `"`+name+`": element 3 of F32`) {
				t.Errorf("%v: exit code %d: %s", args, code, errOut)
			}
		}
		for _, args := range commands {
			if code, _, errOut := dmx(t, append(args, "--allow-non-finite")...); code != 0 {
				t.Errorf("%v --allow-non-finite: exit code %d: %s", args, code, errOut)
			}
		}
	}
}
