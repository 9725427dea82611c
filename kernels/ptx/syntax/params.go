package syntax

import (
	"fmt"
	"strings"
)

// paramBase is where the parameters of a kernel begin in the constant bank, by the first architecture that has them
// there: what ptxas 12 writes into a cubin as EIATTR_PARAM_CBANK. It matters where a parameter is aligned to more than
// the base is.
func paramBase(target string) int {
	var sm int
	fmt.Sscanf(strings.TrimPrefix(target, "sm_"), "%d", &sm)
	switch {
	case sm >= 100:
		return 0x380
	case sm >= 90:
		return 0x210
	}
	return 0x160
}

// alignParam is the offset, at least next, of a parameter in parameter memory. Its address in the constant bank is a
// multiple of align; the offset need not be: ptxas places a tensor map (64 bytes) of an sm_90 kernel at 0x30.
func alignParam(target string, next, align int) int {
	base := paramBase(target)
	return (base+next+align-1)&^(align-1) - base
}

// Place lays arguments out in parameter memory, as a driver does that is given a pointer to each parameter
// (kernelParams): number i begins at at[i] of args. It returns an error if they are not as many as the parameters, or
// one has too few bytes or more than its size and the padding behind it.
func (k *Kernel) Place(args []byte, at []uint32) ([]byte, error) {
	if len(at) != len(k.Params) {
		return nil, fmt.Errorf("ptx: kernel %s: %d arguments, want %d", k.Name, len(at), len(k.Params))
	}
	params := make([]byte, k.ParamSize)
	for i, p := range k.Params {
		from, to := int(at[i]), len(args)
		if i+1 < len(at) {
			to = int(at[i+1])
		}
		if to > len(args) || to-from < p.Size || to-from >= p.Size+maxPadding {
			return nil, fmt.Errorf("ptx: kernel %s: argument %d has bytes %d to %d of %d, want %d of them",
				k.Name, i, from, to, len(args), p.Size)
		}
		copy(params[p.Offset:], args[from:from+p.Size])
	}
	return params, nil
}

// maxPadding bounds the bytes between one argument and the next: the largest alignment of an argument is that of a
// tensor map.
const maxPadding = 64
