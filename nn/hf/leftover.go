package hf

import (
	"slices"
	"strings"

	"github.com/dino-mx/dmx/tensor/safetensors"
)

// sortOut files a stored tensor that the model does not use: as ignored where it cannot matter to the trunk, as
// unsupported where the model is known to compute something with it that this program does not, else as unexpected.
// bare is its name under the trunk's prefix, empty for a tensor outside it.
func (c *Checkpoint) sortOut(s *survey, t safetensors.Info, bare string) {
	item := Item{Stored: t.Name, Info: t}
	first, _, deeper := strings.Cut(bare, ".")
	ignore := func(why string) {
		item.Why = why
		c.ignored = append(c.ignored, item)
	}
	other, isOther := s.otherTrunk(t.Name)
	switch {
	case isOther:
		ignore("another branch of a training checkpoint, " + strings.TrimSuffix(other.stored, "."))
	case strings.Contains(t.Name, ".lora_") && (bare != "" || len(s.trunks) == 1):
		item.Why = "a LoRA adapter stored beside the base weights, whose scale the file does not tell; " +
			"merge it from Python with merge_and_unload, or save it with save_pretrained and name the folder as the adapter"
		c.unsupported = append(c.unsupported, item)
	case bare != "" && whyIgnorable(bare) != "":
		ignore(whyIgnorable(bare))
	case bare != "" && first == "pooler":
		ignore("a pooler, which self-supervision does not use")
	case bare == "mask_token" || bare == "embeddings.mask_token":
		ignore("a mask token, which this model does not use")
	case bare != "" && !deeper && t.Shape.Len() == 1:
		ignore("a number beside the model")
	case bare != "" && whyUnsupported(bare) != "":
		item.Why = whyUnsupported(bare)
		c.unsupported = append(c.unsupported, item)
	case anyWord(nameOutside(t.Name, bare), "head", "heads", "classifier", "fc", "decoder", "projector", "projection", "predictor", "prototypes", "neck") ||
		bare == "" && strings.Contains(t.Name, "last_layer"):
		ignore("a head, not part of the trunk")
	case anyWord(nameOutside(t.Name, bare), "optimizer", "optim", "scheduler", "schedulers", "scaler", "loss", "criterion", "queue", "ema"):
		ignore("training state")
	case bare == "" && anyWord(t.Name, "teacher", "student"):
		ignore("another branch of a training checkpoint")
	case bare == "":
		ignore("outside the trunk")
	default:
		item.Why = "not a tensor of this model"
		item.InTrunk = inTrunk(bare)
		c.unknown = append(c.unknown, item)
	}
}

// nameOutside is the part of a name that says which part of a training program it belongs to: all of it outside the
// trunk, the first component inside.
func nameOutside(stored, bare string) string {
	if bare == "" {
		return stored
	}
	first, _, _ := strings.Cut(bare, ".")
	return first
}

func anyWord(name string, list ...string) bool {
	return slices.ContainsFunc(words(name), func(w string) bool { return slices.Contains(list, w) })
}

// otherTrunk finds the trunk, not the chosen one, that a stored tensor belongs to: the one of the longest prefix.
func (s *survey) otherTrunk(stored string) (trunk, bool) {
	var found trunk
	ok := false
	for _, t := range s.trunks {
		if t.stored != "" && strings.HasPrefix(stored, t.stored) && (!ok || len(t.stored) > len(found.stored)) {
			found, ok = t, true
		}
	}
	return found, ok && found.stored != s.prefix
}

// whyUnsupported explains a tensor inside the trunk that is known to change what the model computes, and that this
// program has no place for. Ignoring it would give other features.
func whyUnsupported(bare string) string {
	first, rest, _ := strings.Cut(bare, ".")
	switch {
	case first == "cls_norm":
		return "a norm of its own for CLS and registers (untie_cls_and_patch_norms), which is not supported"
	case first == "dist_token":
		return "a distillation token, which is not supported"
	case strings.Contains(rest, "q_norm.") || strings.Contains(rest, "k_norm."):
		return "a norm of queries and keys, which is not supported"
	case strings.Contains(rest, "relative_position_bias"):
		return "a table of relative positions, which is not supported"
	case first == "norm_pre":
		return "a norm before the first block, which is not supported"
	}
	return ""
}

// inTrunk reports whether a bare name can only belong to the trunk of a vision transformer, in any naming.
func inTrunk(name string) bool {
	first, _, _ := strings.Cut(name, ".")
	return slices.Contains([]string{"blocks", "encoder", "layer", "layers", "embeddings", "patch_embed", "model"}, first) ||
		anyWord(first, "norm", "layernorm", "token", "tokens", "pos", "position", "rope", "embed")
}
