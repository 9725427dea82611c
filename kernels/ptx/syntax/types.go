package syntax

// sizes are the bytes of the types.
var sizes = map[string]int{
	"b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "bf16": 2, "b32": 4, "u32": 4, "s32": 4, "f32": 4,
	"f16x2": 4, "bf16x2": 4, "b64": 8, "u64": 8, "s64": 8, "f64": 8, "b128": 16,
}

// Size is the bytes of a type, for example 4 of "f32"; 0 if there is none of that name.
func Size(t string) int { return sizes[t] }

// floats are the types of floating-point numbers, single or in pairs.
var floats = map[string]bool{"f16": true, "bf16": true, "f32": true, "f64": true, "f16x2": true, "bf16x2": true}
