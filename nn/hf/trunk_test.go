package hf

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dino-mx/dmx/nn/hf/pth"
	"github.com/dino-mx/dmx/tensor"
	"github.com/dino-mx/dmx/tensor/safetensors"
)

// metaTrunk is a small DINOv2 in Meta's naming, under its bare names.
func metaTrunk(t *testing.T) map[string]safetensors.Tensor {
	t.Helper()
	src, err := pth.Open("testdata/meta-dinov2-registers/checkpoint.pth")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	out := map[string]safetensors.Tensor{}
	for _, i := range src.Tensors() {
		out[i.Name] = safetensors.FromSource(i.Name, src, i)
	}
	return out
}

// trunkFile writes tensors as a checkpoint in PyTorch's form.
func trunkFile(t *testing.T, tensors map[string]safetensors.Tensor) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "checkpoint.pth")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []safetensors.Tensor
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		x := tensors[name]
		x.Name = name
		list = append(list, x)
	}
	if err := pth.Write(f, list); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Wrappers of training may stand anywhere in a tensor's name, and what stands beside the trunk is explained.
func TestWrappedNames(t *testing.T) {
	plain, err := Open(trunkFile(t, metaTrunk(t)), OpenOptions{Heads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	want := readAll(t, plain)
	each := func(block string) func(string) string {
		return func(name string) string {
			if rest, ok := strings.CutPrefix(name, "blocks."); ok {
				i, rest, _ := strings.Cut(rest, ".")
				return "blocks." + i + "." + block + "." + rest
			}
			return name
		}
	}
	for name, rename := range map[string]func(string) string{
		"nothing":                    func(n string) string { return n },
		"compiled":                   func(n string) string { return "_orig_mod." + n },
		"compiled blocks":            each("_orig_mod"),
		"checkpointed blocks":        each("_checkpoint_wrapped_module"),
		"FSDP":                       func(n string) string { return "_fsdp_wrapped_module." + each("_fsdp_wrapped_module")(n) },
		"old FSDP":                   each("_fsdp_wrapped_module._fpw_module"),
		"DeepSpeed and DDP":          func(n string) string { return "module._forward_module.backbone.module." + n },
		"PEFT's base layers":         func(n string) string { return strings.Replace(n, ".attn.qkv.", ".attn.qkv.base_layer.", 1) },
		"wrapped modules of a block": func(n string) string { return strings.Replace(n, ".mlp.", ".mlp._orig_mod.", 1) },
		"a wrapped patch embedding":  func(n string) string { return strings.Replace(n, "patch_embed.", "patch_embed.module.", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			renamed := map[string]safetensors.Tensor{}
			for n, x := range metaTrunk(t) {
				renamed[rename(n)] = x
			}
			renamed["iteration"] = zeros()
			renamed["head.mlp.0.weight"] = zeros(3, 24)
			c, err := Open(trunkFile(t, renamed), OpenOptions{Heads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if diff := cmp.Diff(want, readAll(t, c)); diff != "" {
				t.Error(diff)
			}
			if err := c.Report().Err(false, false); err != nil {
				t.Error(err)
			}
		})
	}
}

// A trunk of several is chosen by a part of its prefix, by a word of a part, or because it is the only teacher.
func TestTrunkPairs(t *testing.T) {
	for _, tt := range []struct {
		name, a, b, branch string // the trunk under b has other weights
		want               string // prefix, or what the error says
	}{
		{"two words, the longer", "backbone.", "momentum_backbone.", "momentum_backbone", "momentum_backbone."},
		{"two words, the shorter", "momentum_backbone.", "backbone.", "backbone", "backbone."},
		{"a word of a part", "backbone.", "momentum_backbone.", "momentum", "momentum_backbone."},
		{"a word is a teacher", "state_dict.student_embedding_model.m.", "state_dict.teacher_embedding_model.m.", "", "state_dict.teacher_embedding_model.m."},
		{"a word is chosen", "state_dict.teacher_embedding_model.m.", "state_dict.student_embedding_model.m.", "student", "state_dict.student_embedding_model.m."},
		{"a whole part", "teacher_embedding_model.m.", "student_embedding_model.m.", "student_embedding_model", "student_embedding_model."},
		{"two parts", "model.student.", "model.teacher.", "model.teacher", "model.teacher."},
		{"one within the other", "", "ema.module.", "ema", "ema.module."},
		{"the outer one", "ema.", "", ".", ""},
		{"wrappers alone tell them apart", "net.", "module.net.", "module", "module.net."},
		{"encoders", "encoder_q.", "encoder_k.", "encoder_k", "encoder_k."},
		{"no choice", "encoder_q.", "encoder_k.", "", `choose one with --branch: encoder_k (names begin with "encoder_k."), encoder_q (`},
		{"no choice among nested ones", "model.net.", "model_ema.net.", "", "model_ema (names begin"},
		{"another name", "encoder_q.", "encoder_k.", "teacher", `no trunk answers to the branch "teacher"; there are encoder_k`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			both := map[string]safetensors.Tensor{}
			for n, x := range metaTrunk(t) {
				both[tt.a+n] = x
				y := tensor.Zeros(tensor.F32, x.Shape...)
				for i := range y.F32() {
					y.F32()[i] = 7
				}
				both[tt.b+n] = safetensors.FromTensor("", y)
			}
			var list []safetensors.Info
			c, err := Open(trunkFile(t, both), OpenOptions{Heads: 2, Branch: tt.branch})
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) || tt.want == "" {
					t.Errorf("%v, want %q", err, tt.want)
				}
				return
			}
			defer c.Close()
			list = c.Tensors()
			if !strings.HasPrefix(c.Prefix, tt.want) || c.Prefix != tt.b {
				t.Errorf("prefix %q, want %q", c.Prefix, tt.want)
			}
			for _, i := range list {
				x, err := safetensors.ReadTensor(c, i.Name)
				if err != nil {
					t.Fatal(err)
				}
				// Registers that share their rows with the position table are a sum.
				if x.Len() > 0 && x.At(0) != 7 {
					t.Errorf("%s is of the other trunk", i.Name)
				}
			}
			if err := c.Report().Err(false, false); err != nil {
				t.Error(err)
			}
		})
	}
}

// A message offers an option only where that cannot change the features; what changes them is never allowed.
func TestNoWayToOtherFeatures(t *testing.T) {
	rename := func(from, to string) func(map[string]safetensors.Tensor) {
		return func(m map[string]safetensors.Tensor) {
			for n, x := range m {
				if rest, ok := strings.CutPrefix(n, from); ok {
					delete(m, n)
					m[to+rest] = x
				}
			}
		}
	}
	add := func(name string, shape ...int) func(map[string]safetensors.Tensor) {
		return func(m map[string]safetensors.Tensor) { m[name] = zeros(shape...) }
	}
	all := Allow{Missing: true, Unexpected: true}
	for _, tt := range []struct {
		name  string
		edit  func(map[string]safetensors.Tensor)
		allow Allow
		want  string // of the error; "" for none
		hint  bool
	}{
		{"pooled before the norm", rename("norm.", "fc_norm."), all, "unsupported: fc_norm.weight (the final norm follows the mean", false},
		{"a head's norm beside the norm", add("fc_norm.weight", 24), Allow{}, "", false},
		{"untied norms", add("cls_norm.weight", 24), all, "untie_cls_and_patch_norms", false},
		{"a distillation token", add("dist_token", 1, 1, 24), all, "distillation token", false},
		{"norms of queries", add("blocks.0.attn.q_norm.weight", 12), all, "norm of queries", false},
		{"relative positions", add("blocks.1.attn.relative_position_bias_table", 9, 2), all, "relative positions", false},
		{"LoRA beside the weights", add("blocks.0.attn.qkv.lora_A.default.weight", 2, 24), all, "merge_and_unload", false},
		{"something in a block", add("blocks.0.attn.gate", 24), Allow{}, "unexpected: blocks.0.attn.gate", false},
		{"something in a block, allowed", add("blocks.0.attn.gate", 24), Allow{Unexpected: true}, "", false},
		{"something beside the blocks", add("probe.weight", 24), Allow{}, "unexpected: probe.weight", true},
		{"no norm", func(m map[string]safetensors.Tensor) { delete(m, "norm.weight") }, Allow{}, "missing: layernorm.weight", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := metaTrunk(t)
			tt.edit(m)
			c, err := Open(trunkFile(t, m), OpenOptions{Heads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _, err = c.Build(newBuilder(t, false), tt.allow)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "--allow") != tt.hint {
				t.Errorf("the message offers an option: %v", err)
			}
		})
	}
}
