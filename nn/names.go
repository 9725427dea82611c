package nn

import "strconv"

// The names of parameters in Hugging Face files, by family.

func (f Family) block(i int) string {
	if f == FamilyDINOv3 {
		return "layer." + strconv.Itoa(i) + "."
	}
	return "encoder.layer." + strconv.Itoa(i) + "."
}

func (f Family) norms() (before, after string) {
	if f == FamilyViT {
		return "layernorm_before", "layernorm_after"
	}
	return "norm1", "norm2"
}

func (f Family) attention() (query, key, value, out string) {
	if f == FamilyDINOv3 {
		return "attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj"
	}
	const p = "attention.attention."
	return p + "query", p + "key", p + "value", "attention.output.dense"
}

// mlp returns the names of the MLP's input layers (gate before up where there are two) and of its output layer.
func (f Family) mlp(gated bool) (in []string, out string) {
	switch {
	case f == FamilyDINOv3 && gated:
		return []string{"mlp.gate_proj", "mlp.up_proj"}, "mlp.down_proj"
	case f == FamilyDINOv3:
		return []string{"mlp.up_proj"}, "mlp.down_proj"
	case gated:
		return []string{"mlp.weights_in"}, "mlp.weights_out"
	case f == FamilyViT:
		return []string{"intermediate.dense"}, "output.dense"
	default:
		return []string{"mlp.fc1"}, "mlp.fc2"
	}
}

func (f Family) patch() string {
	if f == FamilyDINOv3 {
		return "embeddings.patch_embeddings"
	}
	return "embeddings.patch_embeddings.projection"
}

func (f Family) finalNorm() string {
	if f == FamilyDINOv3 {
		return "norm"
	}
	return "layernorm"
}

// maskShape is the shape of the mask token in the file.
func (f Family) maskShape(d int) []int {
	if f == FamilyDINOv2 || f == FamilyDINOv2Registers {
		return []int{1, d}
	}
	return []int{1, 1, d}
}
