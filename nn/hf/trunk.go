package hf

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/dino-mx/dmx/tensor/safetensors"
)

// survey is the trunk found in a file: its tensors under the bare names of one naming.
type survey struct {
	naming Naming
	prefix string                      // what stands before the trunk's names in the file
	byName map[string]safetensors.Info // bare name to stored tensor
	order  []string                    // bare names in file order
	others []safetensors.Info          // tensors outside the prefix
	trunks []trunk                     // every trunk of the file, the chosen one included
	v3     bool
}

// wrapperNames are modules that training adds around others: torch.compile, activation checkpointing, FSDP, DeepSpeed,
// DistributedDataParallel and PEFT. They may stand anywhere in a tensor's name and mean nothing for the weights.
var wrapperNames = []string{
	"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_fpw_module", "_forward_module", "module", "base_layer",
}

// plainName is a stored name without wrappers: "module.blocks.0._orig_mod.norm1.weight" is "blocks.0.norm1.weight".
func plainName(name string) string {
	parts := strings.Split(name, ".")
	kept := slices.DeleteFunc(parts, func(p string) bool { return slices.Contains(wrapperNames, p) })
	return strings.Join(kept, ".")
}

// trunk is one vision transformer of a file.
type trunk struct {
	stored string // what stands before its CLS token's name in the file
	plain  string // the same without wrappers; "" or it ends in a dot
	hf     bool   // Hugging Face names
}

// trunksOf finds the CLS tokens of a file that have a patch embedding beside them.
func trunksOf(tensors []safetensors.Info) []trunk {
	names := map[string]bool{}
	for _, t := range tensors {
		names[plainName(t.Name)] = true
	}
	embeds := func(plain string) bool {
		return names[plain+"patch_embed.proj.weight"] || names[plain+"embeddings.patch_embeddings.projection.weight"] ||
			names[plain+"embeddings.patch_embeddings.weight"]
	}
	var all, whole []trunk
	for _, t := range tensors {
		plain := plainName(t.Name)
		for _, suffix := range []string{"embeddings.cls_token", "cls_token"} {
			p, ok := strings.CutSuffix(plain, suffix)
			if !ok || p != "" && p[len(p)-1] != '.' {
				continue
			}
			stored, ok := strings.CutSuffix(t.Name, suffix)
			if !ok {
				stored = p // a wrapper inside the suffix
			}
			found := trunk{stored, p, suffix != "cls_token"}
			all = append(all, found)
			if embeds(p) {
				whole = append(whole, found)
			}
			break
		}
	}
	if len(whole) == 0 {
		return all // inferring the architecture says what is missing
	}
	return whole
}

// words splits the parts of a name at underscores and hyphens.
func words(name string) []string {
	return strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '.' || r == '_' || r == '-' })
}

// answers says how well a branch's name fits a trunk: 2 if it is one or several whole parts of the prefix, 1 if it is
// one or several words of a part ("teacher" in "teacher_embedding_model"), 0 if it does not fit.
func (t trunk) answers(branch string) int {
	branch = strings.Trim(branch, ".")
	contains := func(list, run []string) bool {
		for i := range list {
			if len(run) > 0 && len(list)-i >= len(run) && slices.Equal(list[i:i+len(run)], run) {
				return true
			}
		}
		return false
	}
	switch {
	case branch == "" && t.plain == "":
		return 2 // ".", the trunk without a prefix
	case contains(strings.Split(strings.Trim(t.stored, "."), "."), strings.Split(branch, ".")):
		return 2
	case contains(words(t.stored), words(branch)):
		return 1
	}
	return 0
}

// best keeps the trunks that answer best to a name.
func best(trunks []trunk, branch string) []trunk {
	for level := 2; level > 0; level-- {
		if fit := slices.DeleteFunc(slices.Clone(trunks), func(t trunk) bool { return t.answers(branch) < level }); len(fit) > 0 {
			return fit
		}
	}
	return nil
}

// pickTrunk chooses by the branch's name; without one it takes the only trunk, or the only teacher.
func pickTrunk(trunks []trunk, branch string) (trunk, error) {
	fit := trunks
	if branch != "" {
		if fit = best(trunks, branch); len(fit) == 0 {
			return trunk{}, fmt.Errorf("no trunk answers to the branch %q; there are %s", branch, listTrunks(trunks, trunks))
		}
	} else if teachers := best(trunks, "teacher"); len(teachers) > 0 {
		fit = teachers
	}
	if len(fit) > 1 {
		return trunk{}, fmt.Errorf("several trunks in one file; choose one with --branch: %s", listTrunks(fit, trunks))
	}
	return fit[0], nil
}

// listTrunks names each trunk by the shortest branch that only it answers to, with its prefix.
func listTrunks(list, all []trunk) string {
	var out []string
	for _, t := range list {
		name := "."
		if t.plain != "" {
			name = strings.Trim(t.stored, ".")
			for _, part := range strings.Split(name, ".") {
				if fit := best(all, part); len(fit) == 1 && fit[0] == t && len(part) < len(name) {
					name = part
				}
			}
		}
		out = append(out, fmt.Sprintf("%s (names begin with %q)", name, t.stored))
	}
	return strings.Join(out, ", ")
}

var (
	chunked = regexp.MustCompile(`^blocks\.\d+\.(\d+)\.`)
	// The module names that transformers 5 has in memory; its files keep the old ones unless asked otherwise.
	newNames = strings.NewReplacer(
		"attention.q_proj.", "attention.attention.query.", "attention.k_proj.", "attention.attention.key.",
		"attention.v_proj.", "attention.attention.value.", "attention.o_proj.", "attention.output.dense.")
	newViTNames = strings.NewReplacer("mlp.fc1.", "intermediate.dense.", "mlp.fc2.", "output.dense.")
)

// findTrunk finds the trunk that branch names, or the only one, or the teacher, and gives its tensors their bare
// names.
func findTrunk(tensors []safetensors.Info, branch string) (*survey, error) {
	trunks := trunksOf(tensors)
	if len(trunks) == 0 {
		return nil, errNoTrunk
	}
	pick, err := pickTrunk(trunks, branch)
	if err != nil {
		return nil, err
	}
	// Two trunks may differ in their wrappers alone ("module.x" and "x"); then the stored prefix tells them apart.
	shared := slices.ContainsFunc(trunks, func(t trunk) bool { return t != pick && t.plain == pick.plain })
	s := &survey{prefix: pick.stored, byName: map[string]safetensors.Info{}, trunks: trunks}
	for _, t := range tensors {
		name, ok := strings.CutPrefix(plainName(t.Name), pick.plain)
		if shared && ok && (!strings.HasPrefix(t.Name, pick.stored) || pick.stored == "" && plainName(t.Name) != t.Name) {
			ok = false
		}
		if !ok {
			s.others = append(s.others, t)
			continue
		}
		if m := chunked.FindStringSubmatch(name); m != nil && !pick.hf {
			name = "blocks." + m[1] + "." + name[len(m[0]):]
		}
		if other, dup := s.byName[name]; dup {
			return nil, fmt.Errorf("the tensors %q and %q both mean %q", other.Name, t.Name, name)
		}
		s.byName[name] = t
		s.order = append(s.order, name)
	}
	if pick.hf {
		s.naming = NamingHF
		return s, s.modernise()
	}
	s.classify()
	return s, nil
}
