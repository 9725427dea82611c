package run

import (
	"fmt"

	"github.com/dino-mx/dmx/tensor"
)

// mixedPrecision maps distribution.mixed_precision to the element type of the activations on a device whose fast
// type is bf16.
var mixedPrecision = words[tensor.DType]{"distribution.mixed_precision", map[string]tensor.DType{
	"bf16": tensor.BF16, "fp16": tensor.BF16, "no": tensor.F32,
}}

// precision returns the element type of the activations on a device whose fast type is fast, and a note where that is
// not the type that word names.
func precision(word string, fast tensor.DType) (dtype tensor.DType, note string, err error) {
	dtype, err = mixedPrecision.value(word)
	if err != nil {
		return dtype, "", err
	}
	if fast == tensor.F32 {
		dtype = tensor.F32 // a CPU computes no faster with fewer bits
	}
	if word == "fp16" {
		note = fmt.Sprintf("%s: fp16 is not computed: the run works in %s; set it to bf16 or no", mixedPrecision.key, dtype)
	}
	return dtype, note, nil
}
